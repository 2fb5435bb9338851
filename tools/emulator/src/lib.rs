//! An Azure Kinect DK as a state machine.
//!
//! USB requests and the time go in, payloads come out. It opens no socket and knows no clock.
