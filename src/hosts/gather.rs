//! After a take: the parts of its hosts come together in one place, and become one take.

use super::collect::{Pace, Place, Source, collect};
use super::merge::{Agreed, Expected, Found, Part, merge};
use super::messages::{Answer, Ask, State};
use super::name::{HostName, TakeId};
use super::pending::{Pending, hosts_of};
use super::rig::{Hosts, SOON, Trouble};
use crate::config::{Rig, Wanted};
use crate::error::{Error, Result};
use crate::map::read_text;
use crate::record::{TAKE, TRIGGERS};
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
    /// released on their hosts.
    ///
    /// # Errors
    /// `Disk` and `File` when the take cannot be written, or nothing of it is there.
    pub fn run(&self, pending: &mut Pending, tell: &mut dyn FnMut(Event<'_>)) -> Result<Gathered> {
        let rig = pending.resolve()?;
        let names = hosts_of(&rig)?;
        // Several that are silent are waited for at once.
        let wanted: Vec<_> = names.iter().filter(|host| !pending.gathered.contains(host)).collect();
        let looked = |host: &HostName| self.hosts.insist(host, &Ask::Status, PATIENCE).err();
        let mut silent = self.hosts.each(wanted, looked);
        let (mut parts, mut left) = (Vec::new(), Vec::new());
        for host in &names {
            let part = match silent.remove(host).flatten() {
                Some(trouble) => Err(trouble.to_string()),
                None => self.part(pending, host, tell),
            };
            let found = match part {
                Ok((take, triggers)) => Found::Recorded { take: Box::new(take), triggers },
                Err(why) => {
                    left.push((host.clone(), why.clone()));
                    Found::Missing { why: format!("not gathered from host {host}: {why}") }
                }
            };
            let clock = pending.clocks.get(host).cloned();
            parts.push(Part { host: host.clone(), found, clock });
        }
        let agreed = Agreed {
            first: pending.first_trigger,
            end: pending.end.or(pending.triggers.map(|count| pending.first_trigger + count)),
            asked: pending.triggers,
        };
        let merged = merge(&parts, &expected(&rig)?, &agreed);
        let (mut take, triggers) =
            merged.map_err(|why| Error::File(format!("{}: {why}", self.folder.display())))?;
        take.started.clone_from(&pending.started);
        self.write(&take, &triggers)?;
        if left.is_empty() && self.place.is_some() {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_dir_all(self.folder.join(PARTS));
            Pending::remove(self.folder)?;
        }
        Ok(Gathered { take, left })
    }

    /// Writes down what the take is: beside its recordings, and in the folder that it was to go to.
    fn write(&self, take: &Take, triggers: &Triggers) -> Result<()> {
        let (triggers, take) = (triggers.to_csv(), take.to_toml());
        let folder = Place::parse(&self.folder.to_string_lossy(), self.folder)?;
        for place in self.place.into_iter().chain([&folder]) {
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
    ) -> std::result::Result<(Take, Triggers), String> {
        if !pending.gathered.contains(host) {
            let part = self.look(&pending.take, host, tell)?;
            if let Some(place) = self.place {
                self.fetch(part, place, tell)?;
                pending.gathered.push(host.clone());
                pending.write(self.folder).map_err(|cause| cause.to_string())?;
            }
        }
        let read = |name| {
            let path = self.text_path(host, name);
            read_text(&path, TEXT_BYTES_MAX).map_err(|cause| cause.to_string())
        };
        Ok((Take::from_toml(&read(TAKE)?)?, Triggers::from_csv(&read(TRIGGERS)?)?))
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
    ) -> std::result::Result<Remote<'p>, String> {
        let files = self.manifest(take, host, tell)?;
        let remote = Remote { hosts: self.hosts, host, take, files };
        for name in [TRIGGERS, TAKE] {
            let text = remote.text(name)?;
            let path = self.text_path(host, name);
            let put = fs::create_dir_all(self.folder.join(PARTS)).and_then(|()| {
                let fresh = path.with_extension("part");
                fs::write(&fresh, text)?;
                fs::File::open(&fresh)?.sync_all()?;
                fs::rename(&fresh, &path)
            });
            put.map_err(|cause| Error::disk("cannot write", &path, &cause).to_string())?;
        }
        Ok(remote)
    }

    /// Brings the recordings of a part to their place, and releases them where they were.
    fn fetch(
        &self,
        mut remote: Remote<'_>,
        place: &Place,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<(), String> {
        let host = remote.host;
        let all: u64 = remote.files.iter().map(|file| file.bytes).sum();
        let mut told = |bytes| tell(Event::Bytes(host, bytes, all));
        let done = collect(&mut remote, place, self.pace, &mut told, self.stop);
        if done.map_err(|cause| cause.to_string())?.stopped {
            return Err("stopped: genlock gather goes on with it".to_owned());
        }
        let release = Ask::Release(remote.take.clone(), remote.files);
        match self.hosts.insist(host, &release, PATIENCE) {
            Ok((Answer::Done, _)) => Ok(()),
            // It is here, and there too.
            Ok(_) | Err(Trouble::Silent(_)) => Ok(()),
            Err(Trouble::Refused(refusal)) => {
                tell(Event::Waiting(host, &refusal.why));
                Ok(())
            }
        }
    }

    /// The files of a part, when its recorder has ended.
    fn manifest(
        &self,
        take: &TakeId,
        host: &HostName,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> std::result::Result<Vec<File>, String> {
        let mut told = None;
        loop {
            match self.hosts.insist(host, &Ask::Manifest(take.clone()), PATIENCE) {
                Ok((Answer::Manifest(files), _)) => return Ok(files),
                Ok((Answer::Later(why), _)) => {
                    if self.stop.load(Ordering::Acquire) {
                        return Err(format!("stopped while {why}"));
                    }
                    let why = format!("{why}{}", self.progress(host));
                    if told.as_ref() != Some(&why) {
                        tell(Event::Waiting(host, &why));
                        told = Some(why);
                    }
                    thread::park_timeout(AGAIN);
                }
                Ok(_) => return Err("it answers something else".to_owned()),
                Err(trouble) => return Err(trouble.to_string()),
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
