"""What an object is: when it begins and ends, which picture shows it best, and its metadata.

Pure: frames' times and detections in, decisions as values out. Time is that of the frames.
"""
