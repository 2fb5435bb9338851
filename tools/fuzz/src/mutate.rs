//! Changes to inputs: of bytes, and of what the bytes are.

use crate::random::Random;
use crate::script;
use genlock_formats::ebml::{Element, id};

/// What an input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes without structure that a change could follow.
    Bytes,
    /// EBML.
    Elements,
    /// Messages (see [`script`]).
    Messages,
    /// Text in lines.
    Text,
}

/// Values at which programs go wrong.
const INTERESTING: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    16,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    1 << 31,
    u32::MAX as u64,
    1 << 53,
    (1 << 56) - 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Words that texts may be made of.
const WORDS: [&str; 22] = [
    "-1",
    "0.5",
    "1e999",
    "nan",
    "-9223372036854775808",
    "\"\"",
    "\"auto\"",
    "true",
    "[]",
    "{}",
    "[[device]]\n",
    "[emulator]\n",
    "[a.b.c]\n",
    "\u{0}",
    "\u{fc}",
    "\n",
    ",",
    "=",
    "\"",
    "null",
    "'''",
    "#",
];

/// Changes `input`, which may take parts of `other`; it has at most `len_max` bytes then.
pub fn mutate(random: &mut Random, form: Form, input: &mut Vec<u8>, other: &[u8], len_max: usize) {
    loop {
        match form {
            _ if random.one_in(3) => change_bytes(random, input, other),
            Form::Bytes => change_bytes(random, input, other),
            Form::Elements => change_elements(random, input, other),
            Form::Messages => change_parts(random, input, &script::starts(input), other),
            Form::Text => change_text(random, input, other),
        }
        if random.one_in(2) {
            break;
        }
    }
    // Behind a wrong checksum some readers do not look.
    if form == Form::Elements && random.one_in(4) {
        correct_checksums(input);
    }
    input.truncate(len_max);
}

fn interesting(random: &mut Random) -> u64 {
    let value = random.pick(&INTERESTING).copied().unwrap_or(0);
    if random.one_in(4) { value.wrapping_sub(1) } else { value }
}

fn change_bytes(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len());
    match random.below(8) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.number() as u8;
            }
        }
        3 => {
            let width = 1 << random.below(4);
            let value = interesting(random);
            let big = value.to_be_bytes();
            let bytes = if random.one_in(2) { value.to_le_bytes() } else { big };
            let bytes = if bytes == big { &bytes[8 - width..] } else { &bytes[..width] };
            for (to, from) in input.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        }
        4 => {
            let end = at + random.below((input.len() - at).min(64) + 1);
            input.drain(at..end);
        }
        5 => {
            let from = if random.one_in(2) { &input[..] } else { other };
            let chunk = chunk(random, from);
            input.splice(at..at, chunk);
        }
        6 => {
            let chunk = chunk(random, other);
            let end = (at + chunk.len()).min(input.len());
            input.splice(at..end, chunk);
        }
        _ if random.one_in(2) => input.truncate(at),
        _ => {
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len())..]);
        }
    }
}

/// Some bytes out of `bytes`.
fn chunk(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let at = random.below(bytes.len());
    let len = random.below((bytes.len() - at).min(256) + 1);
    bytes[at..at + len].to_vec()
}

/// Takes out, doubles, swaps or brings in whole parts, which begin at `starts`.
fn change_parts(random: &mut Random, input: &mut Vec<u8>, starts: &[usize], other: &[u8]) {
    let Some(place) = (!starts.is_empty()).then(|| random.below(starts.len())) else {
        return change_bytes(random, input, other);
    };
    let end_of = |place: usize, len| starts.get(place + 1).copied().unwrap_or(len);
    let (start, end) = (starts[place], end_of(place, input.len()));
    match random.below(4) {
        0 => {
            input.drain(start..end);
        }
        1 => {
            let part = input[start..end].to_vec();
            input.splice(end..end, part);
        }
        2 => {
            let from = random.below(starts.len());
            let part = input[starts[from]..end_of(from, input.len())].to_vec();
            input.splice(start..end, part);
        }
        _ => {
            let places = script::starts(other);
            let from = random.pick(&places).copied().unwrap_or(0);
            let part = script::messages(&other[from..]).next().unwrap_or_default();
            input.splice(start..start, script::of([part]));
        }
    }
}

fn change_text(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let lines = |text: &[u8]| {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let mut starts = vec![0];
        starts.extend(ends.map(|(at, _)| at + 1).filter(|at| *at < text.len()));
        starts
    };
    match random.below(4) {
        0 => {
            let starts = lines(input);
            let at = random.pick(&lines(other)).copied().unwrap_or(0);
            let line = other[at..].split_inclusive(|byte| *byte == b'\n').next();
            match line.filter(|_| random.one_in(2)) {
                Some(line) => {
                    let to = random.pick(&starts).copied().unwrap_or(0).min(input.len());
                    input.splice(to..to, line.iter().copied());
                }
                None => change_parts_of_text(random, input, &starts),
            }
        }
        1 => {
            let word = random.pick(&WORDS).copied().unwrap_or_default();
            let at = random.below(input.len() + 1);
            input.splice(at..at, word.bytes());
        }
        _ => {
            // Another number, or another word, in the place of one.
            let starts: Vec<_> = (0..input.len())
                .filter(|&at| {
                    input[at].is_ascii_alphanumeric()
                        && at.checked_sub(1).is_none_or(|at| !input[at].is_ascii_alphanumeric())
                })
                .collect();
            let Some(&at) = random.pick(&starts) else { return };
            let len = input[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let word = match random.below(3) {
                0 => random.pick(&WORDS).copied().unwrap_or_default().to_owned(),
                _ => interesting(random).to_string(),
            };
            input.splice(at..at + len, word.bytes());
        }
    }
}

fn change_parts_of_text(random: &mut Random, input: &mut Vec<u8>, starts: &[usize]) {
    let place = random.below(starts.len());
    let (start, end) = (starts[place], starts.get(place + 1).copied().unwrap_or(input.len()));
    let line = input[start..end].to_vec();
    match random.below(3) {
        0 => {
            input.drain(start..end);
        }
        1 => {
            input.splice(end..end, line);
        }
        _ => {
            input.drain(start..end);
            let at = random.pick(starts).copied().unwrap_or(0).min(input.len());
            input.splice(at..at, line);
        }
    }
}

/// Elements that hold elements.
const MASTERS: [u32; 19] = [
    id::EBML,
    id::SEGMENT,
    id::SEEK_HEAD,
    id::SEEK,
    id::INFO,
    id::TRACKS,
    id::TRACK_ENTRY,
    id::VIDEO,
    id::ATTACHMENTS,
    id::ATTACHED_FILE,
    id::TAGS,
    id::TAG,
    id::TARGETS,
    id::SIMPLE_TAG,
    id::CLUSTER,
    id::BLOCK_GROUP,
    id::CUES,
    id::CUE_POINT,
    id::CUE_TRACK_POSITIONS,
];

/// The elements of an input, every one before those in it; not more than a small file has.
#[must_use]
pub fn elements(bytes: &[u8]) -> Vec<Element> {
    const COUNT_MAX: usize = 1024;
    let all = Element { id: 0, at: 0, content: 0..bytes.len(), sized: true, cut: false };
    let mut found = Vec::new();
    let mut open = vec![all];
    while let Some(element) = open.pop() {
        for child in element.children(bytes).flatten() {
            if found.len() >= COUNT_MAX {
                return found;
            }
            if MASTERS.contains(&child.id) {
                open.push(child.clone());
            }
            found.push(child);
        }
    }
    found
}

fn change_elements(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let all = elements(input);
    let Some(Element { at, content, .. }) = random.pick(&all).cloned() else {
        return change_bytes(random, input, other);
    };
    // Behind the id, whose first byte says how long it is.
    let size_at = at + input[at].leading_zeros() as usize + 1;
    match random.below(8) {
        0..=2 => {
            let width = 1 + random.below(8);
            let ones = (1_u64 << (7 * width)) - 1;
            let size = match random.below(6) {
                0 => ones,
                1 => ones - 1,
                2 => interesting(random),
                3 => content.len() as u64 + 1,
                4 => (content.len() as u64).saturating_sub(1),
                _ => content.len() as u64,
            };
            let size = (size & ones) | 1 << (7 * width);
            input.splice(size_at..content.start, size.to_be_bytes()[8 - width..].to_vec());
        }
        3 => {
            input.drain(at..content.end);
        }
        4 => {
            let element = input[at..content.end].to_vec();
            input.splice(at..at, element);
        }
        5 => {
            let theirs = elements(other);
            if let Some(element) = random.pick(&theirs) {
                let element = other[element.at..element.content.end].to_vec();
                input.splice(at..content.end, element);
            }
        }
        6 => {
            let value = interesting(random).to_be_bytes();
            let len = content.len().min(8);
            input.splice(content.start..content.start + len, value[8 - len..].to_vec());
        }
        _ => {
            if let Some(from) = random.pick(&all) {
                let id = input[from.at..].iter().take(4).copied().collect::<Vec<_>>();
                let len = (size_at - at).min(id.len());
                input.splice(at..at + len, id[..len].to_vec());
            }
        }
    }
}

/// Makes every checksum that stands first in an element that of the bytes behind it.
fn correct_checksums(input: &mut [u8]) {
    // Inner ones first: outer ones cover them.
    for element in elements(input).into_iter().rev() {
        let Some(Ok(first)) = element.children(input).next() else { continue };
        if first.id == id::CRC_32 && first.content.len() == 4 {
            let crc = crc32fast::hash(&input[first.content.end..element.content.end]);
            input[first.content].copy_from_slice(&crc.to_le_bytes());
        }
    }
}
