//! What coordinators ask of agents, and what they answer: JSON, one question and one answer at a
//! time. An answer may have bytes of a file behind it.
//!
//! Every question may be asked again: what is done already is done, and a lost answer costs nothing
//! but time.

use super::name::{HostName, TakeId};
use crate::device::{Firmware, Jacks};
use crate::error::Error;
use crate::record::DeviceStatus;
use crate::rig::Finding;
use crate::rig::discipline::Discipline;
use crate::rig::list::Listed;
use genlock_formats::take::File;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of these messages: agents answer none of another.
pub const VERSION: u32 = 1;

/// Bytes of a message at most, without the bytes of a file.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes of a file in an answer at most.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Of the messages.
    pub version: u32,
    /// Who asks: for people, the user and machine; and a number that no other coordinator has.
    pub from: String,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Which devices are plugged in; of the emulated ones of a rig, those of this host.
    List(Option<Box<Order>>),
    /// Whether they, and this machine, are ready for a take.
    Check(Box<Order>),
    /// Open the devices and start those that wait for pulses.
    Arm(Box<Order>),
    /// Everybody is armed: whoever gives the pulses may start.
    Start(TakeId),
    /// End the take before this trigger, where no later one is written yet; soon, where none is
    /// given. Of a take that has not begun, nothing is left.
    Stop(TakeId, Option<u64>),
    /// How it goes.
    Status,
    /// What time it is there.
    Clock,
    /// The files of its part of a take, repaired if its recorder was cut off.
    Manifest(TakeId),
    /// Bytes of the file at this place in the manifest, from an offset on.
    Read(TakeId, usize, u64),
    /// The files of this manifest are safe elsewhere: the part may be deleted.
    Release(TakeId, Vec<File>),
}

/// What is to be recorded, or checked, or listed. Of the rig a host records those devices that are
/// on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The take.
    pub take: TakeId,
    /// The rig file.
    pub rig: String,
    /// What the command line sets over it, as behind `--set`.
    pub sets: Vec<String>,
    /// The one device that is wanted, if it is one.
    pub serial: Option<String>,
    /// The take begins with this trigger.
    pub first_trigger: u64,
    /// It ends by itself after so many.
    pub triggers: Option<u64>,
    /// Whether to go on where the checks before the take find errors.
    pub force: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Not done, and why.
    Refused(Refusal),
    /// Not yet: what is worked on.
    Later(String),
    /// Done, or done already.
    Done,
    /// The devices that are plugged in.
    Devices(Vec<Listed>),
    /// What a check found.
    Checked(Vec<Finding>, Vec<Facts>),
    /// How it goes.
    Status(Box<AgentStatus>),
    /// What time it is, in nanoseconds of UTC since 1970, and what keeps the clock.
    Clock(i64, Option<Discipline>),
    /// The files of a part.
    Manifest(Vec<File>),
    /// Bytes of a file, behind the answer; none at its end.
    Data,
}

/// Why something is not done, and who must act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose matter it is.
    pub kind: Kind,
    /// Why, and what to do.
    pub why: String,
}

/// Whose matter an error is: see [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of whoever typed the command.
    Usage,
    /// Of whoever stands at the rig.
    Device,
    /// Of a disk.
    Disk,
    /// Of a file.
    File,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        let kind = match error {
            Error::Usage(_) => Kind::Usage,
            Error::Device(_) => Kind::Device,
            Error::Disk(_) => Kind::Disk,
            Error::File(_) => Kind::File,
        };
        Self { kind, why: error.to_string() }
    }
}

impl Refusal {
    /// The same as an error of this process, told of a host.
    #[must_use]
    pub fn of(self, host: &HostName) -> Error {
        let text = format!("host {host}: {}", self.why);
        match self.kind {
            Kind::Usage => Error::Usage(text),
            Kind::Device => Error::Device(text),
            Kind::Disk => Error::Disk(text),
            Kind::File => Error::File(text),
        }
    }
}

/// What is known of a device before a take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Serial number.
    pub serial: String,
    /// What is plugged into its sync jacks, where it could be asked.
    pub jacks: Option<Jacks>,
    /// Its firmware, where it could be asked.
    pub firmware: Option<Firmware>,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing: it takes orders.
    Idle,
    /// It opens its devices, and starts those that wait for pulses.
    Arming,
    /// Its devices wait for pulses, or may start to give them.
    Armed,
    /// It records.
    Recording,
    /// The take has ended, and its files are being finished.
    Finishing,
    /// Its last take failed; it takes orders.
    Failed,
}

/// How it goes on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// What the agent does.
    pub state: State,
    /// The take at work, or the last.
    pub take: Option<TakeId>,
    /// Why the last take failed.
    pub why: Option<Refusal>,
    /// How its recorder is, or was when it was last heard.
    pub part: Option<PartStatus>,
}

/// How the recorder of a part is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PartStatus {
    /// The take.
    pub take: Option<TakeId>,
    /// Whether everybody who waits for pulses does.
    pub armed: bool,
    /// Whether whoever gives pulses may start, or nobody here does.
    pub started: bool,
    /// Whether the first trigger has come.
    pub begun: bool,
    /// Whether the take has ended.
    pub ended: bool,
    /// Milliseconds since the devices were started.
    pub elapsed_ms: u64,
    /// The devices.
    pub devices: Vec<DeviceStatus>,
    /// Whether the cameras run so that their automatics settle.
    pub warming_up: bool,
    /// The latest trigger that a device has seen.
    pub latest: u64,
    /// How many alarms there were.
    pub alarm_count: u64,
    /// The last of them.
    pub alarms: Vec<String>,
    /// What was found before the take.
    pub findings: Vec<Finding>,
    /// What is known of the devices.
    pub facts: Vec<Facts>,
}

/// A message as bytes.
#[must_use]
pub fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    // Only maps with keys that are not strings cannot be written, and there are none.
    serde_json::to_vec(message).unwrap_or_default()
}

/// A message of bytes that came from elsewhere.
///
/// # Errors
/// In words, why they are none.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(format!("a message of {} bytes is too long", bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|cause| format!("no message of genlock: {cause}"))
}

/// An answer, with bytes of a file behind it.
#[must_use]
pub fn answer_to_bytes(answer: &Answer, data: &[u8]) -> Vec<u8> {
    let mut bytes = to_bytes(answer);
    bytes.push(b'\n');
    bytes.extend_from_slice(data);
    bytes
}

/// The same, read.
///
/// # Errors
/// In words, why they are no answer.
pub fn answer_from_bytes(bytes: &[u8]) -> Result<(Answer, &[u8]), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("an answer without an end")?;
    let data = &bytes[end + 1..];
    if data.len() > DATA_BYTES_MAX {
        return Err(format!("{} bytes of a file are too many at once", data.len()));
    }
    Ok((from_bytes(&bytes[..end])?, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take() -> TakeId {
        TakeId::try_from("0001-x".to_owned()).expect("a name")
    }

    #[test]
    fn messages_read_as_they_were_written() {
        let order = Order {
            take: take(),
            rig: "[[host]]\n".to_owned(),
            sets: vec!["rate=15".to_owned()],
            serial: None,
            first_trigger: 90,
            triggers: Some(300),
            force: false,
        };
        for ask in [
            Ask::List(None),
            Ask::Arm(Box::new(order)),
            Ask::Stop(take(), Some(7)),
            Ask::Read(take(), 1, 1 << 40),
            Ask::Release(take(), vec![File::of("1.mkv", b"x")]),
        ] {
            let request = Request { version: VERSION, from: "me".to_owned(), ask };
            assert_eq!(from_bytes(&to_bytes(&request)), Ok(request));
        }
        let bytes = answer_to_bytes(&Answer::Data, b"{\n\0");
        assert_eq!(answer_from_bytes(&bytes), Ok((Answer::Data, &b"{\n\0"[..])));
    }

    #[test]
    fn what_is_no_message_is_told() {
        for text in [
            "",
            "{}",
            "{\"version\":1,\"from\":\"\",\"ask\":\"status\",\"more\":1}",
            "{\"version\":1,\"from\":\"\",\"ask\":{\"start\":\"../x\"}}",
            "{\"version\":1,\"from\":\"\",\"ask\":{\"read\":[\"a\",-1,0]}}",
        ] {
            assert!(from_bytes::<Request>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(from_bytes::<Request>(&vec![b' '; MESSAGE_BYTES_MAX + 1]).is_err());
        assert!(answer_from_bytes(b"\"done\"").is_err());
        let long = answer_to_bytes(&Answer::Data, &vec![0; DATA_BYTES_MAX + 1]);
        assert!(answer_from_bytes(&long).is_err());
    }
}
