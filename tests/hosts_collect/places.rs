//! Hosts that have files, and the two kinds of places that files are gathered at: a folder, and a
//! bucket of a real server that speaks S3.

use crate::support::judges::{missing, root};
use genlock::Result;
use genlock::hosts::collect::{Collected, Pace, Place, Source, collect};
use genlock_formats::take::File;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStoreExt, path};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;

/// What happens when a file is read at an offset.
type Event<'a> = Box<dyn FnMut(usize, u64) -> Result<()> + 'a>;

/// A host in memory.
pub struct Host<'a> {
    pub files: Vec<File>,
    pub bytes: Vec<Vec<u8>>,
    /// Bytes that a read gives.
    pub gives: usize,
    /// Reads that go wrong on their way.
    pub damaged: u32,
    /// Bytes that were read.
    pub given: u64,
    pub event: Event<'a>,
}

impl<'a> Host<'a> {
    pub fn new(files: &[(&str, Vec<u8>)]) -> Self {
        Self {
            files: files.iter().map(|(name, bytes)| File::of(name, bytes)).collect(),
            bytes: files.iter().map(|(_, bytes)| bytes.clone()).collect(),
            gives: 1 << 20,
            damaged: 0,
            given: 0,
            event: Box::new(|_, _| Ok(())),
        }
    }

    /// The same, with something that happens before each read.
    pub fn with(self, event: impl FnMut(usize, u64) -> Result<()> + 'a) -> Self {
        Self { event: Box::new(event), ..self }
    }
}

impl Source for Host<'_> {
    fn host(&self) -> &str {
        "b"
    }

    fn files(&self) -> &[File] {
        &self.files
    }

    fn read(&mut self, file: usize, offset: u64, into: &mut Vec<u8>) -> Result<()> {
        assert!(into.is_empty());
        (self.event)(file, offset)?;
        let bytes = &self.bytes[file];
        let from = usize::try_from(offset).expect("within memory").min(bytes.len());
        into.extend_from_slice(&bytes[from..bytes.len().min(from + self.gives)]);
        if self.damaged > 0 {
            self.damaged -= 1;
            into[0] ^= 1;
        }
        self.given += into.len() as u64;
        Ok(())
    }
}

/// Collects with no bound and nobody who listens.
pub fn gather(host: &mut dyn Source, place: &Place) -> Result<Collected> {
    collect(host, place, &Pace::unlimited(), &mut |_| (), &AtomicBool::new(false))
}

/// What it says when it fails.
pub fn refusal(host: &mut dyn Source, place: &Place) -> String {
    gather(host, place).expect_err("it is refused").to_string()
}

/// A place, seen from outside.
pub enum At {
    Folder(TempDir),
    Store(Bucket),
}

impl At {
    /// One of each kind; a folder alone where there is no server.
    pub fn each() -> impl Iterator<Item = Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        std::iter::once(Self::Folder(folder)).chain(Bucket::new().map(Self::Store))
    }

    /// The place as a process finds it that knows nothing of others before.
    pub fn place(&self) -> Place {
        match self {
            Self::Folder(folder) => {
                let text = format!("file://{}", folder.path().join("a/0001").display());
                Place::parse(&text, Path::new("/proc/nowhere")).expect("a place")
            }
            Self::Store(bucket) => bucket.place(),
        }
    }

    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        match self {
            Self::Folder(folder) => std::fs::read(folder.path().join("a/0001").join(name)).ok(),
            Self::Store(bucket) => bucket.read(name),
        }
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        match self {
            Self::Folder(folder) => {
                let folder = folder.path().join("a/0001");
                let made = std::fs::create_dir_all(&folder);
                made.and_then(|()| std::fs::write(folder.join(name), bytes)).expect("room");
            }
            Self::Store(bucket) => bucket.write(name, bytes),
        }
    }

    /// Names of files that are there, or in its notes.
    pub fn names(&self) -> Vec<String> {
        let folder = match self {
            Self::Folder(folder) => folder.path().join("a/0001"),
            Self::Store(bucket) => bucket.notes.path().to_owned(),
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        names.sort();
        names
    }

    /// Bytes that may be fetched again: a part of what was on its way to a store.
    pub fn again_max(&self) -> u64 {
        if matches!(self, Self::Folder(_)) { 0 } else { 8 << 20 }
    }
}

/// The server, as long as a test has it.
struct Server {
    child: Child,
    port: u16,
}

static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    fn get() -> Option<Arc<Self>> {
        let mut known = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = known.upgrade() {
            return Some(server);
        }
        let named = std::env::var_os("GENLOCK_MOTO").map(PathBuf::from);
        let program = named.unwrap_or_else(|| root().join(".venv-hosts/bin/moto_server"));
        if !program.exists() {
            return missing("a server that speaks S3 (run .ci/run once)");
        }
        let mut command = Command::new("timeout");
        command.arg("500").arg(program).args(["-H", "127.0.0.1", "-p", "0"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("timeout is part of every Linux");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let port = lines.by_ref().map_while(|line| line.ok()).find_map(|line| {
            line.split_once("http://127.0.0.1:").and_then(|(_, port)| port.trim().parse().ok())
        });
        // It says a word for every request, and must never wait for somebody who reads it.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Arc::new(Self { child, port: port.expect("it says where it is") });
        *known = Arc::downgrade(&server);
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Politely, so that timeout ends the server as well.
        let timeout = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(timeout, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A bucket of its own on the server.
pub struct Bucket {
    _server: Arc<Server>,
    pub name: String,
    pub endpoint: String,
    pub notes: TempDir,
    pub s3: AmazonS3,
    runtime: tokio::runtime::Runtime,
}

impl Bucket {
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = Server::get()?;
        let name = format!("lab-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        assert!(answer.contains("200 OK"), "{answer}");
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        // As the store does: whoever is first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let s3 = AmazonS3Builder::new().with_bucket_name(&name).with_endpoint(&endpoint);
        let s3 = s3.with_access_key_id("a").with_secret_access_key("b").with_allow_http(true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Some(Self {
            _server: server,
            name,
            endpoint,
            notes: tempfile::tempdir().expect("a folder"),
            s3: s3.build().expect("it has all it needs"),
            runtime: runtime.expect("a runtime"),
        })
    }

    pub fn place(&self) -> Place {
        place_in_store(&self.name, &self.endpoint, self.notes.path())
    }

    /// Waits for what a client of its own does.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn key(name: &str) -> path::Path {
        path::Path::from(format!("a/0001/{name}"))
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.run(async {
            let object = self.s3.get(&Self::key(name)).await.ok()?;
            Some(object.bytes().await.expect("its bytes").to_vec())
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let key = Self::key(name);
        self.run(self.s3.put(&key, bytes.to_vec().into())).expect("room");
    }
}

/// A way to the store of `bucket` on which `meddle` changes answers, knowing the first lines of the
/// requests; gives its address.
pub fn meddled(
    bucket: &Bucket,
    meddle: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let store = bucket.endpoint.trim_start_matches("http://").to_owned();
    let meddle = Arc::new(meddle);
    std::thread::spawn(move || {
        for call in listener.incoming().map_while(|call| call.ok()) {
            let (store, meddle) = (store.clone(), Arc::clone(&meddle));
            std::thread::spawn(move || relay(call, &store, &*meddle));
        }
    });
    endpoint
}

/// Relays one request, and ends the call.
fn relay(
    mut call: TcpStream,
    store: &str,
    meddle: &dyn Fn(&str, Vec<u8>) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(call.try_clone()?);
    let (mut head, mut bytes, mut first) = (String::new(), 0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            bytes = value.trim().parse().unwrap_or_default();
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        head += &line;
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body)?;
    let mut there = TcpStream::connect(store)?;
    there.write_all((head + "Connection: close\r\n\r\n").as_bytes())?;
    there.write_all(&body)?;
    let mut answer = Vec::new();
    there.read_to_end(&mut answer)?;
    call.write_all(&meddle(&first, answer))
}

/// A place in a bucket.
pub fn place_in_store(bucket: &str, endpoint: &str, notes: &Path) -> Place {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("HOME", "/"),
    ];
    let mut variables = variables.map(|(name, value)| (name.into(), value.into())).into_iter();
    let text = format!("s3://{bucket}/a");
    let place = Place::parse_with(&text, notes, &mut variables).expect("a place");
    place.below("0001").expect("a name")
}
