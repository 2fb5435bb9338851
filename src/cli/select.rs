//! What of a take a command is to work on.

use crate::replay::Selection;
use clap::{Args, ValueEnum};

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
    /// First and last trigger in one
    #[arg(long, value_name = "A..B", value_parser = range,
          conflicts_with_all = ["from_trigger", "to_trigger"])]
    triggers: Option<(Option<u64>, Option<u64>)>,
    /// Every Nth trigger alone, counted from the first
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// This device alone, by serial number or name; more of them when given again
    #[arg(long, value_name = "SERIAL|NAME")]
    device: Vec<String>,
    /// These tracks alone: color, depth, ir, imu [default: all there are]
    #[arg(long, value_name = "TRACK,...", value_delimiter = ',')]
    track: Vec<Track>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Track {
    Color,
    Depth,
    Ir,
    Imu,
}

/// Reads `A..B`; either may be left out. Both are part of the range.
fn range(text: &str) -> Result<(Option<u64>, Option<u64>), String> {
    let failed = || format!("'{text}' is no range: write 10..20, 10.. or ..20");
    let (from, to) = text.split_once("..").ok_or_else(failed)?;
    let number = |text: &str| match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| failed()),
    };
    let (from, to) = (number(from)?, number(to)?);
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(format!("'{text}' ends before it begins")),
        _ => Ok((from, to)),
    }
}

impl SelectArgs {
    /// What was chosen; the same in other words is the same.
    pub fn selection(&self) -> Selection {
        let (from_trigger, to_trigger) =
            self.triggers.unwrap_or((self.from_trigger, self.to_trigger));
        let tracks = self.track.iter().map(|track| match track {
            Track::Color => "color",
            Track::Depth => "depth",
            Track::Ir => "ir",
            Track::Imu => "imu",
        });
        let mut tracks: Vec<_> = tracks.map(str::to_owned).collect();
        tracks.sort();
        tracks.dedup();
        Selection {
            from_trigger,
            to_trigger,
            every: self.every as usize,
            devices: self.device.clone(),
            tracks,
        }
    }
}
