//! Questions to the agents, and their answers.

use super::Link;
use crate::error::{Error, Result};
use crate::hosts::name::HostName;
use crossbeam::channel::{Receiver, Sender, bounded};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::query::{ConsolidationMode, Query, Queryable};

/// Bytes of a question, and of an answer, at most.
pub const QUESTION_BYTES_MAX: usize = 1 << 20;
/// See [`QUESTION_BYTES_MAX`].
pub const ANSWER_BYTES_MAX: usize = 3 << 20;

/// Questions that may wait for the one that is being answered.
const WAITING_MAX: usize = 16;

/// Where a host is asked, and where it says that it is there.
fn host_key(name: &str) -> String {
    format!("genlock/hosts/{name}")
}

fn alive_key(name: &str) -> String {
    format!("genlock/alive/{name}")
}

/// An agent that answers, until this is dropped.
pub struct Serving {
    token: Option<LivelinessToken>,
    queryable: Option<Queryable<()>>,
    /// `None` ends the thread.
    questions: Sender<Option<Query>>,
    answering: Option<JoinHandle<()>>,
}

/// Why a host gave no answer. `Display` goes after the name of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// Nobody is there of that name, or the connection broke before the answer came: whether the
    /// question arrived is not known.
    Unreachable,
    /// It has not answered for so long, and may still be at it.
    Timeout(Duration),
    /// It answered that it does not answer that, in its words.
    Refused(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("it cannot be reached"),
            Self::Timeout(patience) => {
                write!(f, "it has not answered within {:.1} s", patience.as_secs_f64())
            }
            Self::Refused(text) => f.write_str(text),
        }
    }
}

/// Lets host `name` be asked, and tells that it is there. Questions are answered one at a time, in
/// the order in which they come, on a thread of their own; when too many wait, more are refused.
///
/// # Errors
/// `Device` when the session is closed, or the system gives no thread.
pub fn serve(
    link: &Link,
    name: &HostName,
    answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> Result<Serving> {
    let why = |cause: &dyn fmt::Display| Error::Device(format!("host {name}: {cause}"));
    let (questions, receiver) = bounded(WAITING_MAX);
    let answering = std::thread::Builder::new()
        .name("answers".to_owned())
        .spawn(move || answer_all(&receiver, &answer))
        .map_err(|cause| why(&cause))?;
    let mut serving =
        Serving { token: None, queryable: None, questions, answering: Some(answering) };
    let questions = serving.questions.clone();
    let queryable = link
        .session
        .declare_queryable(host_key(name.as_ref()))
        .complete(true)
        .callback(move |query| admit(query, &questions))
        .wait()
        .map_err(|cause| why(&cause))?;
    serving.queryable = Some(queryable);
    // Last: who sees it may ask.
    let token = link.session.liveliness().declare_token(alive_key(name.as_ref())).wait();
    serving.token = Some(token.map_err(|cause| why(&cause))?);
    Ok(serving)
}

/// On Zenoh's thread: passes a question on, or refuses it at once.
fn admit(query: Query, questions: &Sender<Option<Query>>) {
    let bytes = query.payload().map_or(0, zenoh::bytes::ZBytes::len);
    if bytes > QUESTION_BYTES_MAX {
        let text = format!("a question of {bytes} bytes is not read: {QUESTION_BYTES_MAX} at most");
        return refuse(&query, &text);
    }
    if let Err(full) = questions.try_send(Some(query))
        && let Some(query) = full.into_inner()
    {
        refuse(&query, "it is busy with other questions: ask again");
    }
}

fn answer_all(questions: &Receiver<Option<Query>>, answer: &impl Fn(&[u8]) -> Vec<u8>) {
    while let Ok(Some(query)) = questions.recv() {
        let asked = query.payload().map(|payload| payload.to_bytes()).unwrap_or_default();
        // An agent that is there and mute would be worse than one that says what happened to it.
        match catch_unwind(AssertUnwindSafe(|| answer(&asked))) {
            Ok(answer) if answer.len() <= ANSWER_BYTES_MAX => {
                // Who asked may be gone.
                let _ = query.reply(query.key_expr().clone(), answer).express(true).wait();
            }
            Ok(answer) => refuse(
                &query,
                &format!(
                    "its answer of {} bytes is more than {ANSWER_BYTES_MAX}: ask for less",
                    answer.len()
                ),
            ),
            Err(_) => refuse(&query, "answering failed within its agent: see the agent's output"),
        }
    }
}

fn refuse(query: &Query, text: &str) {
    // Who asked may be gone.
    let _ = query.reply_err(text).wait();
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A session that is closed already has undeclared both.
        if let Some(token) = self.token.take() {
            let _ = token.undeclare().wait();
        }
        if let Some(queryable) = self.queryable.take() {
            let _ = queryable.undeclare().wait();
        }
        // Blocks while the question before is being answered, as joining does.
        let _ = self.questions.send(None);
        if let Some(answering) = self.answering.take() {
            let _ = answering.join();
        }
    }
}

/// Asks host `name`, and waits for its answer with `patience`.
///
/// # Errors
/// A [`Silence`] when no answer comes.
pub fn ask(
    link: &Link,
    name: &HostName,
    question: &[u8],
    patience: Duration,
) -> std::result::Result<Vec<u8>, Silence> {
    let replies = link
        .session
        .get(host_key(name.as_ref()))
        .payload(question)
        .consolidation(ConsolidationMode::None)
        .express(true)
        // Ours ends first, so that Zenoh's is not taken for an answer.
        .timeout(patience.saturating_add(Duration::from_secs(1)))
        .wait()
        .map_err(|_| Silence::Unreachable)?;
    match replies.recv_timeout(patience) {
        Ok(Some(reply)) => match reply.into_result() {
            Ok(sample) => Ok(sample.payload().to_bytes().into_owned()),
            Err(refused) => {
                let text = refused.payload().to_bytes();
                Err(Silence::Refused(String::from_utf8_lossy(&text).into_owned()))
            }
        },
        Ok(None) => Err(Silence::Timeout(patience)),
        Err(_) => Err(Silence::Unreachable),
    }
}

/// Whether the agent of host `name` is there, as far as is known here, found `within` so long at
/// most. One that ended is not; one that froze, or whose network did, still is for some seconds.
#[must_use]
pub fn is_alive(link: &Link, name: &HostName, within: Duration) -> bool {
    let token = alive_key(name.as_ref());
    let Ok(replies) = link.session.liveliness().get(token).timeout(within).wait() else {
        return false;
    };
    let first = replies.recv_timeout(within).ok().flatten();
    first.is_some_and(|reply| reply.result().is_ok())
}
