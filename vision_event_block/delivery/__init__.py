"""From an event to the API's answer: dispatch, courier, client and errors."""
