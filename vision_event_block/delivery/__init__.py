"""From an event to the API's answer: the client, its errors and the sender's threads."""
