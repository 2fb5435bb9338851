//! Emulated Azure Kinect DKs behind a real USB stack: a USB/IP server.
