//! Inputs that are a list of messages: each has its length, in two bytes, before it.

/// The messages of an input. The last may be cut.
pub fn messages(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_le_bytes(*head)).min(behind.len());
        let (message, behind) = behind.split_at(len);
        rest = behind;
        Some(message)
    })
}

/// An input of these messages.
#[must_use]
pub fn of<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut input = Vec::new();
    for message in messages {
        let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
        input.extend(len.to_le_bytes());
        input.extend(&message[..usize::from(len)]);
    }
    input
}

/// Where each message of an input begins, with its length before it.
#[must_use]
pub fn starts(input: &[u8]) -> Vec<usize> {
    let lens = messages(input).map(|message| message.len() + 2);
    lens.scan(0, |at, len| Some(std::mem::replace(at, *at + len))).collect()
}
