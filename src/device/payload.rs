//! UVC payloads into frames (usb-protocol.md 6.6 and 6.7).

use crate::device::settled::TakenWith;
use crate::pool::Buf;

/// Metadata item with the frame's time stamp, and its least size.
const FRAME_ALIGN_INFO: u32 = 0x8000_0001;
const FRAME_ALIGN_INFO_BYTES: usize = 44;

/// Metadata item with what the frame was taken with, its size, and the flags that say that
/// exposure time and white balance are given.
const CAPTURE_STATS: u32 = 0x0000_0003;
const CAPTURE_STATS_BYTES: usize = 80;
const HAS_BOTH: u32 = 0x21;

/// Room for the metadata of a frame: libuvc's own limit.
const METADATA_MAX: usize = 4096;

const FRAME_ID: u8 = 0x01;
const END_OF_FRAME: u8 = 0x02;
const HAS_PTS: u8 = 0x04;
const HAS_SCR: u8 = 0x08;
const ERROR: u8 = 0x40;

/// Puts a frame together from its payloads.
#[derive(Debug)]
pub struct Assembly {
    image: Option<Buf>,
    metadata: Vec<u8>,
    frame_id: Option<u8>,
    damaged: bool,
    /// Whether anything of the current frame has arrived.
    begun: bool,
}

/// What a payload completes.
#[derive(Debug)]
pub enum Assembled {
    /// A whole frame with its stamp in 90 kHz ticks; the stamp is 0 while the sensor starts.
    Frame {
        /// The image's bytes.
        image: Buf,
        /// Centre of exposure.
        ticks: u64,
        /// Whether the last payload said that it was the last; else the next frame's beginning
        /// ended it.
        ended: bool,
        /// Exposure and white balance, where the frame says.
        taken_with: Option<TakenWith>,
    },
    /// A frame that cannot be used, with its stamp where it was known.
    Damaged {
        /// Centre of exposure.
        ticks: Option<u64>,
        /// Whether it was lost for want of a buffer.
        no_buffer: bool,
    },
}

impl Default for Assembly {
    fn default() -> Self {
        Self {
            image: None,
            metadata: Vec::with_capacity(METADATA_MAX),
            frame_id: None,
            damaged: false,
            begun: false,
        }
    }
}

impl Assembly {
    /// Takes a payload in; none stands for one that was lost. `fresh` gives a buffer for a new
    /// image. A payload may complete two frames: the one before it, whose end was lost, and its
    /// own.
    pub fn take(
        &mut self,
        payload: Option<&[u8]>,
        mut fresh: impl FnMut() -> Option<Buf>,
    ) -> [Option<Assembled>; 2] {
        let Some((flags, metadata, data)) = payload.and_then(split) else {
            let empty = payload.is_some_and(<[u8]>::is_empty);
            self.damaged |= self.begun && !empty;
            return [None, None];
        };
        let frame_id = flags & FRAME_ID;
        let turned = self.frame_id.is_some_and(|before| before != frame_id);
        let before = if turned && self.begun { self.complete(false) } else { None };
        self.frame_id = Some(frame_id);
        if !self.begun {
            self.begun = true;
            self.image = fresh();
            if let Some(image) = &mut self.image {
                image.set_len(0);
            }
        }
        if self.metadata.len() + metadata.len() <= METADATA_MAX {
            self.metadata.extend_from_slice(metadata);
        } else {
            self.damaged = true;
        }
        self.damaged |= flags & ERROR != 0;
        if let Some(image) = &mut self.image
            && !image.append(data)
        {
            self.damaged = true;
        }
        // An end without data is libuvc's to ignore, and so ours: the next turn of the frame bit
        // ends it.
        let ends = flags & END_OF_FRAME != 0 && !data.is_empty();
        [before, if ends { self.complete(true) } else { None }]
    }

    /// Ends the current frame. One that the next frame's beginning ended may lack its last payload.
    fn complete(&mut self, ended: bool) -> Option<Assembled> {
        let (ticks, taken_with) = (stamp(&self.metadata), taken_with(&self.metadata));
        let image = self.image.take();
        let damaged = self.damaged;
        self.metadata.clear();
        (self.begun, self.damaged) = (false, false);
        let no_buffer = image.is_none();
        Some(match (image, ticks) {
            (Some(image), Some(ticks)) if !damaged && !image.is_empty() => {
                Assembled::Frame { image, ticks, ended, taken_with }
            }
            (_, ticks) => Assembled::Damaged { ticks, no_buffer },
        })
    }
}

/// Flags, metadata and data of a payload; none where its head lies.
fn split(payload: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&len, &flags) = (payload.first()?, payload.get(1)?);
    let (head, data) = payload.split_at_checked(usize::from(len))?;
    let times = if flags & HAS_PTS != 0 { 4 } else { 0 } + if flags & HAS_SCR != 0 { 6 } else { 0 };
    Some((flags, head.get(2 + times..)?, data))
}

/// The stamp in a frame's metadata.
fn stamp(metadata: &[u8]) -> Option<u64> {
    let item = item(metadata, FRAME_ALIGN_INFO, FRAME_ALIGN_INFO_BYTES)?;
    item[16..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// What a frame was taken with, by its metadata.
fn taken_with(metadata: &[u8]) -> Option<TakenWith> {
    let item = item(metadata, CAPTURE_STATS, CAPTURE_STATS_BYTES)?;
    let word = |at: usize| u32::from_le_bytes([item[at], item[at + 1], item[at + 2], item[at + 3]]);
    // The upper half of the exposure's 64 bits of 100 ns is hours.
    let given = word(8) & HAS_BOTH == HAS_BOTH && word(20) == 0;
    given.then(|| TakenWith { exposure_us: word(16) / 10, white_balance_k: word(48) })
}

/// The metadata item with this id that has at least `bytes`.
fn item(metadata: &[u8], id: u32, bytes: usize) -> Option<&[u8]> {
    let mut rest = metadata;
    loop {
        let (head, _) = rest.split_first_chunk::<8>()?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (item, behind) = rest.split_at_checked((word(4) as usize).max(8))?;
        if word(0) == id && item.len() >= bytes {
            return Some(item);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    fn payload(flags: u8, ticks: Option<u64>, data: &[u8]) -> Vec<u8> {
        let mut item = Vec::new();
        if let Some(ticks) = ticks {
            // An item of another kind first: it is stepped over.
            item.extend(7_u32.to_le_bytes());
            item.extend(12_u32.to_le_bytes());
            item.extend([0; 4]);
            item.extend(FRAME_ALIGN_INFO.to_le_bytes());
            item.extend(44_u32.to_le_bytes());
            item.extend([0; 8]);
            item.extend(ticks.to_le_bytes());
            item.extend([0; 20]);
        }
        let mut bytes = vec![2 + item.len() as u8, 0x80 | flags];
        bytes.extend(item);
        bytes.extend(data);
        bytes
    }

    /// Frames by their stamp and bytes; damaged ones by their stamp.
    type Seen = Vec<Result<(u64, Vec<u8>), Option<u64>>>;

    fn assemble(payloads: &[Vec<u8>], pool: &Pool) -> Seen {
        let mut assembly = Assembly::default();
        let mut seen = Vec::new();
        for payload in payloads {
            let done = assembly.take(Some(payload), || pool.lend());
            seen.extend(done.into_iter().flatten().map(|done| match done {
                Assembled::Frame { image, ticks, .. } => Ok((ticks, image.to_vec())),
                Assembled::Damaged { ticks, .. } => Err(ticks),
            }));
        }
        seen
    }

    #[test]
    fn payloads_become_frames() {
        let pool = Pool::new(2, 8);
        let payloads = [
            payload(0, Some(90), &[1, 2]),
            payload(END_OF_FRAME, None, &[3]),
            payload(FRAME_ID | END_OF_FRAME, Some(180), &[4]),
        ];
        assert_eq!(assemble(&payloads, &pool), [Ok((90, vec![1, 2, 3])), Ok((180, vec![4]))]);
    }

    #[test]
    fn a_frame_without_its_end_is_ended_by_the_turn_of_the_frame_bit() {
        let pool = Pool::new(2, 8);
        let payloads =
            [payload(0, Some(90), &[1]), payload(FRAME_ID | END_OF_FRAME, Some(180), &[2])];
        assert_eq!(assemble(&payloads, &pool), [Ok((90, vec![1])), Ok((180, vec![2]))]);
    }

    #[test]
    fn what_cannot_be_used_is_damaged() {
        let pool = Pool::new(1, 4);
        let end = END_OF_FRAME;
        assert_eq!(assemble(&[payload(ERROR | end, Some(9), &[1])], &pool), [Err(Some(9))]);
        assert_eq!(assemble(&[payload(end, None, &[1])], &pool), [Err(None)]);
        assert_eq!(assemble(&[payload(end, Some(9), &[1; 5])], &pool), [Err(Some(9))]);
        let lying = vec![200, END_OF_FRAME, 1];
        let payloads = [payload(0, Some(9), &[1]), lying, payload(end, None, &[2])];
        assert_eq!(assemble(&payloads, &pool), [Err(Some(9))]);
        let held = pool.lend();
        assert_eq!(assemble(&[payload(end, Some(9), &[1])], &pool), [Err(Some(9))]);
        drop(held);
    }

    #[test]
    fn metadata_that_lies_ends_the_search() {
        assert_eq!(stamp(&[1, 0, 0, 0, 255, 255, 255, 255]), None);
        assert_eq!(stamp(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(stamp(&[]), None);
    }
}
