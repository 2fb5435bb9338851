//! What of a take a command is to work on.

use crate::replay::Selection;
use clap::Args;

/// Options that choose triggers, devices and tracks.
#[derive(Debug, Args)]
#[command(next_help_heading = "What of the take")]
pub struct SelectArgs {
    /// First trigger
    #[arg(long, value_name = "N")]
    from_trigger: Option<u64>,
    /// Last trigger
    #[arg(long, value_name = "N")]
    to_trigger: Option<u64>,
    /// Every Nth trigger, counted from the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = every)]
    every: usize,
    /// This device alone, by serial number or name; more of them when given again
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// These tracks alone: color, depth, ir, imu
    #[arg(long, value_name = "TRACKS", value_delimiter = ',')]
    track: Vec<String>,
}

fn every(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(every @ 1..) => Ok(every),
        _ => Err("not a number from 1 on".to_owned()),
    }
}

impl SelectArgs {
    /// What was chosen.
    pub fn selection(&self) -> Selection {
        Selection {
            from_trigger: self.from_trigger,
            to_trigger: self.to_trigger,
            every: self.every,
            devices: self.device.clone(),
            tracks: self.track.clone(),
        }
    }
}
