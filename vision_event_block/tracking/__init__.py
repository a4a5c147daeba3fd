"""What a thing is: when it begins and ends, which picture shows it best, what is said of it.

Pure: frames' times and detections in, decisions as values out. The time is that of the frames.
"""
