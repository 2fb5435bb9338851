//! The way to a store that speaks S3. Nothing waits for it without bound: what is away is an error
//! after half a minute, and a stop ends every wait.

use super::{Halt, Step};
use crate::error::{Error, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long one request may take: a part of 8 MiB at half a megabit per second.
/// `AWS_TIMEOUT=10m` allows more.
const REQUEST_TIME: &str = "120s";

/// How long a request is made again after failures that may pass.
const RETRY_TIME: Duration = Duration::from_secs(30);
const RETRIES: usize = 5;
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// What names a store's keys, or where they are. Where none is set there are none: the service that
/// Amazon's own machines ask for theirs is asked only if it is named.
const KEYS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
];

/// How long a wait takes no notice of a stop.
const TURN: Duration = Duration::from_millis(50);

/// Letters of what a store says for itself: some answer with pages.
const SAID_MAX: usize = 400;

/// A bucket of a store.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    pub s3: AmazonS3,
    pub bucket: String,
    /// Where the store is, if that is not Amazon's.
    pub endpoint: String,
}

/// What a store answers.
pub(super) type Answer<T> = std::result::Result<T, object_store::Error>;

impl Connection {
    /// Makes ready for the bucket, by the variables of an environment. Nothing is sent yet.
    pub fn open(
        bucket: &str,
        variables: &mut dyn Iterator<Item = (String, String)>,
    ) -> Result<Self> {
        // Of those that share the process, the first to choose has chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variables: Vec<_> = variables.filter(|(name, _)| name.starts_with("AWS_")).collect();
        let is_given = |wanted: &str| variables.iter().any(|(name, _)| name == wanted);
        if !KEYS.into_iter().any(is_given) {
            return Err(Error::Usage(format!(
                "s3://{bucket} needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )));
        }
        let mut builder = AmazonS3Builder::new();
        for (name, value) in &variables {
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        let endpoint = endpoints.iter().find_map(|key| builder.get_config_value(key));
        let endpoint = endpoint.unwrap_or_default();
        if !is_given("AWS_ALLOW_HTTP") && is_http(&endpoint) {
            if !is_loopback(&endpoint) {
                return Err(Error::Usage(format!(
                    "the store is at {endpoint:?}: recordings would travel in the open; use \
                     https://, or set AWS_ALLOW_HTTP=true if that network is yours alone"
                )));
            }
            builder = builder.with_allow_http(true);
        }
        if !is_given("AWS_TIMEOUT") {
            let key = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
            builder = builder.with_config(key, REQUEST_TIME);
        }
        let backoff = BackoffConfig { max_backoff: RETRY_WAIT_MAX, ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIME };
        let s3 = builder.with_bucket_name(bucket).with_retry(retry).build();
        let s3 = s3.map_err(|cause| {
            Error::Usage(format!("s3://{bucket}: {cause}: look at the AWS_ variables"))
        })?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| Error::Device(format!("no runtime: {cause}")))?;
        Ok(Self { runtime, s3, bucket: bucket.to_owned(), endpoint })
    }

    /// Waits for an answer, or for the stop.
    pub fn ask<T>(
        &self,
        stop: &AtomicBool,
        question: impl Future<Output = Answer<T>>,
    ) -> Step<Answer<T>> {
        self.runtime.block_on(async {
            let mut question = pin!(question);
            loop {
                if let Ok(answer) = tokio::time::timeout(TURN, question.as_mut()).await {
                    return Ok(answer);
                }
                if stop.load(Ordering::Relaxed) {
                    return Err(Halt::Stopped);
                }
            }
        })
    }

    /// What to say of an answer that is none.
    pub fn failed(&self, what: &str, url: &str, cause: &object_store::Error) -> Error {
        use object_store::Error as Cause;
        let advice = match cause {
            Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
                "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and at what they allow there"
            }
            Cause::NotFound { .. } => {
                "is there such a bucket? Look at AWS_ENDPOINT_URL and AWS_REGION"
            }
            _ => {
                "is the store there? Look at the AWS_ variables and the network, then try again: \
                 what was moved stays"
            }
        };
        let said: String = cause.to_string().chars().take(SAID_MAX).collect();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let at = if self.endpoint.is_empty() { "Amazon" } else { &self.endpoint };
        Error::Disk(format!("cannot {what} {url} at {at}: {said}: {advice}"))
    }
}

fn is_http(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// Whether an address of HTTP is this machine's own.
fn is_loopback(endpoint: &str) -> bool {
    let authority = endpoint[7..].split(['/', '?', '#']).next().unwrap_or_default();
    let port = |c: char| c.is_ascii_digit();
    let host = authority.trim_end_matches(port);
    let host = host.strip_suffix(':').unwrap_or(authority);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
