//! After a take: the parts of its hosts come together in one place, and become one take.

use super::collect::{Pace, Place, Source, collect};
use super::merge::{Agreed, Expected, Found, Part, merge};
use super::messages::{Answer, Ask, Kind, Refusal, State};
use super::name::{HostName, TakeId};
use super::pending::{Pending, hosts_of};
use super::rig::{Hosts, SOON, Trouble};
use crate::config::{Rig, Wanted};
use crate::error::{Error, Result};
use crate::map::read_text;
use crate::record::{TAKE, TRIGGERS, replace_text};
use genlock_formats::take::{File, Take};
use genlock_formats::triggers::Triggers;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The folder of a take, while it is gathered, for what parts say of themselves.
const PARTS: &str = "parts";

/// How long a host is asked for something before it is left out for now.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a host that is not ready is asked again.
const AGAIN: Duration = Duration::from_millis(300);

/// Bytes of what a part says of itself at most.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// How a take is gathered.
pub struct Gathering<'a> {
    /// Sessions with its hosts.
    pub hosts: &'a Hosts,
    /// The folder of the take.
    pub folder: &'a Path,
    /// Where its recordings go; none leaves them where they are, and tells the ledger alone.
    pub place: Option<&'a Place>,
    /// How fast.
    pub pace: &'a Pace,
    /// Set when a person stops it.
    pub stop: &'a AtomicBool,
}

/// What came of it.
#[derive(Debug)]
pub struct Gathered {
    /// The take, as far as it is there.
    pub take: Take,
    /// Hosts whose parts are not there, and why.
    pub left: Vec<(HostName, String)>,
    /// Hosts that keep their parts though they are there, and why.
    pub kept: Vec<(HostName, String)>,
}

/// Why a part is not there.
enum Absent {
    /// The host has nothing of the take.
    Nothing,
    /// In words.
    Unknown(String),
}

impl From<Error> for Absent {
    fn from(error: Error) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl From<String> for Absent {
    fn from(why: String) -> Self {
        Self::Unknown(why)
    }
}

impl Absent {
    /// Why, where the host is named before.
    fn words(&self, host: &HostName) -> String {
        match self {
            Self::Nothing => "it has nothing of the take".to_owned(),
            Self::Unknown(why) => {
                why.strip_prefix(&format!("host {host}: ")).unwrap_or(why).to_owned()
            }
        }
    }
}

/// What there is to say meanwhile.
pub enum Event<'a> {
    /// A host is waited for, and why.
    Waiting(&'a HostName, &'a str),
    /// So many more bytes are there, of so many of this host.
    Bytes(&'a HostName, u64, u64),
}

impl Gathering<'_> {
    /// Gathers what there is, and writes down what the take is by that. Parts that are safe are
    /// then released on their hosts.
    ///
    /// # Errors
    /// `Disk` and `File` when the take cannot be written, or nothing of it is there; `Device` when
    /// it was stopped, or no host has recorded anything.
    pub fn run(&self, pending: &mut Pending, tell: &mut dyn FnMut(Event<'_>)) -> Result<Gathered> {
        let rig = pending.resolve()?;
        let names = hosts_of(&rig.hosts, &rig.wanted)?;
        // Several that are silent are waited for at once.
        let wanted = names.iter().filter(|host| !pending.gathered.contains_key(*host));
        let looked = |host: &HostName| self.hosts.insist(host, &Ask::Status, PATIENCE).err();
        let mut silent = self.hosts.each(wanted, looked);
        let (mut parts, mut left) = (Vec::new(), Vec::new());
        for host in &names {
            let part = match silent.remove(host).flatten() {
                Some(trouble) => Err(Absent::Unknown(trouble.to_string())),
                None => self.part(pending, host, tell),
            };
            if self.stop.load(Ordering::Acquire) {
                let text = "stopped: `genlock gather` goes on with what is left";
                return Err(Error::Device(text.to_owned()));
            }
            let found = match part {
                Ok((take, triggers)) => Found::Recorded { take: Box::new(take), triggers },
                Err(absent) => {
                    let why = absent.words(host);
                    left.push((host.clone(), absent));
                    Found::Missing { why: format!("not gathered from host {host}: {why}") }
                }
            };
            let clock = pending.clocks.get(host).cloned();
            parts.push(Part { host: host.clone(), found, clock });
        }
        if left.len() == names.len() && left.iter().all(|(_, why)| matches!(why, Absent::Nothing)) {
            return Err(self.forget());
        }
        let agreed = Agreed {
            first: pending.first_trigger,
            end: pending.end.or(pending.triggers.map(|n| pending.first_trigger.saturating_add(n))),
            asked: pending.triggers,
        };
        let merged = merge(&parts, &expected(&rig)?, &agreed);
        let (mut take, triggers) =
            merged.map_err(|why| Error::File(format!("{}: {why}", self.folder.display())))?;
        take.started.clone_from(&pending.started);
        self.write(pending, &take, &triggers)?;
        let kept = self.release(pending);
        if left.is_empty() && self.place.is_some() {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_dir_all(self.folder.join(PARTS));
            // One whose recordings are elsewhere goes on to tell where.
            match pending.place {
                None => Pending::remove(self.folder)?,
                Some(_) => {
                    pending.complete = true;
                    pending.write(self.folder)?;
                }
            }
        }
        let left = left.into_iter().map(|(host, absent)| (host.clone(), absent.words(&host)));
        Ok(Gathered { take, left: left.collect(), kept })
    }

    /// No host has anything: there is no take, and nothing is to be left of its folder.
    fn forget(&self) -> Error {
        let _ = fs::remove_dir_all(self.folder.join(PARTS));
        let removed = Pending::remove(self.folder).is_ok() && fs::remove_dir(self.folder).is_ok();
        let folder = self.folder.display();
        Error::Device(match removed {
            true => format!("{folder}: no host has recorded anything of it: it is removed"),
            false => format!("{folder}: no host has recorded anything of it"),
        })
    }

    /// Tells the hosts whose parts are safe, now that the take says what they are. Gives those that
    /// did not hear it, and why.
    fn release(&self, pending: &Pending) -> Vec<(HostName, String)> {
        let tell = |(host, files): (&HostName, &Vec<File>)| {
            let release = Ask::Release(pending.take.clone(), files.clone());
            match self.hosts.insist(host, &release, PATIENCE) {
                Ok(_) => None,
                Err(trouble) => Some((host.clone(), trouble.to_string())),
            }
        };
        pending.gathered.iter().filter_map(tell).collect()
    }

    /// Writes down what the take is: beside its recordings, and in the folder that it was to go to.
    fn write(&self, pending: &Pending, take: &Take, triggers: &Triggers) -> Result<()> {
        let (triggers, take) = (triggers.to_csv(), take.to_toml());
        let folder = Place::parse(&self.folder.to_string_lossy(), self.folder)?;
        let elsewhere = self.place.filter(|_| pending.place.is_some());
        for place in elsewhere.into_iter().chain([&folder]) {
            place.replace_text(TRIGGERS, &triggers)?;
            place.replace_text(TAKE, &take)?;
        }
        Ok(())
    }

    /// What a host's part says of itself, once its recordings are at their place.
    fn part(
        &self,
        pending: &mut Pending,
        host: &HostName,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<(Take, Triggers), Absent> {
        if !pending.gathered.contains_key(host) {
            let part = self.look(&pending.take, host, tell)?;
            if let Some(place) = self.place {
                let files = self.fetch(part, place, tell)?;
                pending.gathered.insert(host.clone(), files);
                pending.write(self.folder)?;
            }
        }
        let read = |name| read_text(&self.text_path(host, name), TEXT_BYTES_MAX);
        let take = Take::from_toml(&read(TAKE)?).map_err(Absent::Unknown)?;
        Ok((take, Triggers::from_csv(&read(TRIGGERS)?).map_err(Absent::Unknown)?))
    }

    fn text_path(&self, host: &HostName, name: &str) -> PathBuf {
        self.folder.join(PARTS).join(format!("{host}.{name}"))
    }

    /// Brings here what a part says of itself.
    fn look<'p>(
        &'p self,
        take: &'p TakeId,
        host: &'p HostName,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<Remote<'p>, Absent> {
        let files = self.manifest(take, host, tell)?;
        let remote = Remote { hosts: self.hosts, host, take, files };
        for name in [TRIGGERS, TAKE] {
            let text = remote.text(name)?;
            let path = self.text_path(host, name);
            let put = fs::create_dir_all(self.folder.join(PARTS))
                .and_then(|()| replace_text(&path, &text));
            put.map_err(|cause| Error::disk("cannot write", &path, &cause))?;
        }
        Ok(remote)
    }

    /// Brings the recordings of a part to their place; gives the files of the part.
    fn fetch(
        &self,
        mut remote: Remote<'_>,
        place: &Place,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<Vec<File>, Absent> {
        let host = remote.host;
        let all: u64 = remote.files.iter().map(|file| file.bytes).sum();
        let mut told = |bytes| tell(Event::Bytes(host, bytes, all));
        let done = collect(&mut remote, place, self.pace, &mut told, self.stop)?;
        match done.stopped {
            true => Err(Absent::Unknown("stopped".to_owned())),
            false => Ok(remote.files),
        }
    }

    /// The files of a part, when its recorder has ended.
    fn manifest(
        &self,
        take: &TakeId,
        host: &HostName,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<Vec<File>, Absent> {
        let mut told = None;
        loop {
            match self.hosts.insist(host, &Ask::Manifest(take.clone()), PATIENCE) {
                Ok((Answer::Manifest(files), _)) => return Ok(files),
                Ok((Answer::Later(why), _)) => {
                    if self.stop.load(Ordering::Acquire) {
                        return Err(Absent::Unknown(format!("stopped while {why}")));
                    }
                    let why = format!("{why}{}", self.progress(host));
                    if told.as_ref() != Some(&why) {
                        tell(Event::Waiting(host, &why));
                        told = Some(why);
                    }
                    thread::park_timeout(AGAIN);
                }
                Ok(_) => return Err(Absent::Unknown("it answers something else".to_owned())),
                Err(Trouble::Refused(Refusal { kind: Kind::Usage, .. })) => {
                    return Err(Absent::Nothing);
                }
                Err(trouble) => return Err(Absent::Unknown(trouble.to_string())),
            }
        }
    }

    /// How far a part is that is still being recorded.
    fn progress(&self, host: &HostName) -> String {
        match self.hosts.ask(host, Ask::Status, SOON) {
            Ok((Answer::Status(status), _)) if status.state == State::Recording => {
                " until its end, or until its lease runs out".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// Every device of a rig, as it was asked for.
fn expected(rig: &Rig) -> Result<Vec<Expected>> {
    let Wanted::Each(devices) = &rig.wanted else { return Ok(Vec::new()) };
    let one = |named: &crate::config::Named| {
        let host = named.host.clone().unwrap_or_default();
        Ok(Expected {
            host: HostName::try_from(host).map_err(Error::Usage)?,
            serial: named.serial.clone(),
            name: named.name.clone(),
            config: named.config.clone(),
        })
    };
    devices.iter().map(one).collect()
}

/// The part of a take that is on a host.
struct Remote<'a> {
    hosts: &'a Hosts,
    host: &'a HostName,
    take: &'a TakeId,
    files: Vec<File>,
}

impl Remote<'_> {
    fn bytes(&self, place: usize, offset: u64) -> Result<Vec<u8>> {
        let ask = Ask::Read(self.take.clone(), place, offset);
        match self.hosts.insist(self.host, &ask, PATIENCE) {
            Ok((Answer::Data, data)) => Ok(data),
            Ok(_) => Err(Error::Device(format!("host {}: answers something else", self.host))),
            Err(trouble) => Err(trouble.of(self.host)),
        }
    }

    /// A file that is a text.
    fn text(&self, name: &str) -> std::result::Result<Vec<u8>, String> {
        let listed = self.files.iter().enumerate().find(|(_, file)| file.name == name);
        let (place, listed) = listed.ok_or_else(|| format!("its part has no {name}"))?;
        if listed.bytes > TEXT_BYTES_MAX {
            return Err(format!("its {name} has {} bytes", listed.bytes));
        }
        let mut text = Vec::new();
        while (text.len() as u64) < listed.bytes {
            let more = self.bytes(place, text.len() as u64).map_err(|cause| cause.to_string())?;
            if more.is_empty() {
                break;
            }
            text.extend(more);
        }
        match File::of(name, &text).has_bytes_of(listed) {
            true => Ok(text),
            false => Err(format!("its {name} has other bytes than its manifest says")),
        }
    }
}

impl Source for Remote<'_> {
    fn host(&self) -> &str {
        self.host.as_ref()
    }

    fn files(&self) -> &[File] {
        &self.files
    }

    fn read(&mut self, file: usize, offset: u64, into: &mut Vec<u8>) -> Result<()> {
        into.extend(self.bytes(file, offset)?);
        Ok(())
    }
}
