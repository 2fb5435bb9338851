//! The `matroska` crate reads the front of a file too, and must find what we found.

use genlock_formats::k4a::Recording;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the two readings differ. Call it on files whose every length was found sound: that crate
/// reserves as much memory as a file says, and panics on a SeekHead that lies.
pub(super) fn differences(bytes: &[u8], recording: &Recording<'_>) -> Vec<String> {
    let read = || matroska::Matroska::open(Cursor::new(bytes));
    // A panic over there is an answer here, and not the user's to read.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answer = catch_unwind(AssertUnwindSafe(read));
    std::panic::set_hook(hook);
    let theirs = match answer {
        Ok(Ok(theirs)) => theirs,
        Ok(Err(cause)) => return vec![format!("another reader refuses the file: {cause:?}")],
        Err(_) => return vec!["another reader fails on the file".to_owned()],
    };
    let ours = recording.demuxer().header();
    let mut differences = Vec::new();
    let mut compare = |what: &str, same: bool| {
        if !same {
            differences.push(format!("another reader finds other {what}"));
        }
    };
    let their_tracks = theirs.tracks.iter().map(|track| (track.number, track.uid, &track.codec_id));
    let our_tracks = ours.tracks.iter().map(|track| (track.number, track.uid, &track.codec_id));
    compare("tracks", their_tracks.eq(our_tracks));
    let their_files = theirs.attachments.iter().map(|file| (&file.name, &file.data));
    let our_files = ours.attachments.iter().map(|file| (&file.name, &file.data));
    compare("attachments", their_files.eq(our_files));
    let their_tags = theirs.tags.iter().filter_map(|tag| tag.simple.first());
    let their_names = their_tags.map(|simple| simple.name.as_str());
    compare("tags", their_names.eq(ours.tags.iter().map(|tag| tag.name.as_str())));
    differences
}
