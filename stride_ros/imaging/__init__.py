"""Pictures: image messages and JPEG files to RGB arrays, with their limits. Needs no ROS."""
