//! The way between two machines: each end speaks to a Unix socket of its own, and what passes there
//! goes over TLS between ends that have shown certificates of one authority.
//!
//! It is not Zenoh's own TLS: that of 1.10.2 uses one TLS session from two threads at once, without
//! a lock (its issue 2557, open), and breaks within some hundred messages. And so nothing of whom
//! is not known yet ever reaches Zenoh.

mod folder;
mod tls;

use super::{CALL_MAX, COORDINATOR, Endpoint, Identity, LEASE, SESSIONS_MAX};
use crate::hosts::name::HostName;
use folder::Folder;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Bytes that are passed on at once at most: some records of TLS.
const PIECE_BYTES: usize = 1 << 16;

/// How long to wait when the system has no more sockets.
const AGAIN: Duration = Duration::from_millis(100);

/// One end of the way, at work until this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    folder: Folder,
    /// Why the last connection was not made.
    trouble: Trouble,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Trouble = Arc<Mutex<Option<String>>>;

impl Tunnel {
    /// From `endpoint`, at which coordinators call, to the socket at which the agent's Zenoh
    /// is to listen.
    pub fn of_agent(endpoint: &Endpoint, identity: &Identity) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(endpoint.socket())?;
        listener.set_nonblocking(true)?;
        let acceptor = tls::acceptor(identity)?;
        let folder = Folder::new()?;
        let socket = folder.socket();
        let runtime = runtime()?;
        let listener = {
            let _within = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let make = move |stream| admit(stream, acceptor.clone(), socket.clone());
        let accept = async move || listener.accept().await.map(|(stream, _)| stream);
        Self::dig(folder, runtime, |trouble| pass_all(accept, make, trouble))
    }

    /// From the socket at which a coordinator's Zenoh is to call, to `host` at `endpoint`.
    pub fn of_coordinator(
        host: &HostName,
        endpoint: &Endpoint,
        identity: &Identity,
    ) -> io::Result<Self> {
        let caller = tls::Caller::new(host, endpoint, identity)?;
        let folder = Folder::new()?;
        let runtime = runtime()?;
        let listener = {
            let _within = runtime.enter();
            UnixListener::bind(folder.socket())?
        };
        let make = move |stream| call(stream, caller.clone());
        let accept = async move || listener.accept().await.map(|(stream, _)| stream);
        Self::dig(folder, runtime, |trouble| pass_all(accept, make, trouble))
    }

    fn dig<W>(folder: Folder, runtime: Runtime, work: impl FnOnce(Trouble) -> W) -> io::Result<Self>
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let trouble = Trouble::default();
        let work = work(trouble.clone());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("tunnel".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = work => {}
                }
            });
            // Without waiting for a resolver that does not answer.
            runtime.shutdown_background();
        })?;
        Ok(Self { folder, trouble, stop: Some(stop), thread: Some(thread) })
    }

    /// The near end, as Zenoh names it.
    pub fn locator(&self) -> String {
        format!("unixsock-stream/{}", self.folder.socket().display())
    }

    /// Why the last connection was not made; none after one was.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One thread is enough: it encrypts more than a network of a gigabit carries.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Accepts what comes, makes the other half of its way, and passes on what is said; what is one too
/// many is closed.
async fn pass_all<S, F, M>(accept: impl AsyncFn() -> io::Result<S>, make: F, trouble: Trouble)
where
    S: 'static,
    F: Fn(S) -> M,
    M: Future<Output = io::Result<(Far, UnixStream)>> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        let Ok(stream) = accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        while open.try_join_next().is_some() {}
        if open.len() >= SESSIONS_MAX {
            continue;
        }
        let (made, trouble) = (make(stream), trouble.clone());
        open.spawn(async move {
            let made = timeout(CALL_MAX, made).await.unwrap_or_else(|_| Err(slow()));
            let why = made.as_ref().err().map(ToString::to_string);
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
            if let Ok((far, near)) = made {
                pass_both(far, near).await;
            }
        });
    }
}

fn slow() -> io::Error {
    io::Error::other(format!("no connection within {} s", CALL_MAX.as_secs()))
}

/// What comes from the other machine, decrypted, and goes there.
type Far = tokio_rustls::TlsStream<TcpStream>;

/// At the agent: whoever is not a coordinator of its authority gets nothing.
async fn admit(
    stream: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    socket: PathBuf,
) -> io::Result<(Far, UnixStream)> {
    stream.set_nodelay(true)?;
    let far = Far::from(acceptor.accept(stream).await?);
    tls::check(&far, COORDINATOR)?;
    Ok((far, UnixStream::connect(socket).await?))
}

/// At the coordinator.
async fn call(near: UnixStream, caller: Arc<tls::Caller>) -> io::Result<(Far, UnixStream)> {
    Ok((caller.call().await?, near))
}

/// Passes on what both ends say, until one of them ends: then both are closed at once. Whatever was
/// under way is of a session that is over, and a peer that vanished says no more that it ends.
async fn pass_both(far: Far, near: UnixStream) {
    let (far_in, far_out) = tokio::io::split(far);
    let (near_in, near_out) = near.into_split();
    tokio::select! {
        _ = pass(near_in, far_out) => {}
        _ = pass(far_in, near_out) => {}
    }
}

/// While one end takes nothing, it is not seen that the other is gone: so it ends after the time
/// after which Zenoh itself gives up.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut bytes = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let write = async {
            to.write_all(&bytes[..read]).await?;
            to.flush().await
        };
        timeout(LEASE, write).await??;
    }
}
