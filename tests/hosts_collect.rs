//! Finished files move to one place: a folder, or a store that speaks S3.
#![cfg(feature = "hosts")]

#[path = "hosts_collect/places.rs"]
mod places;
mod support;

use genlock::Error;
use genlock::clock::Clock;
use genlock::hosts::collect::{Pace, Place, collect};
use genlock::rig::disk::noise;
use genlock_formats::take::File;
use places::{At, Bucket, Host, gather, meddled, place_in_store, refusal};
use std::cell::Cell;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use support::small_disk::SmallDisk;

const MIB: u64 = 1 << 20;

/// Bytes that do not repeat; another seed gives others.
fn bytes(len: u64, seed: u8) -> Vec<u8> {
    let mut bytes = noise(usize::try_from(len).expect("within memory"));
    bytes.iter_mut().for_each(|byte| *byte ^= seed);
    bytes
}

/// Two recordings, the larger of three parts, and the lists of the host's part.
fn files() -> [(&'static str, Vec<u8>); 4] {
    [
        ("000001.mkv", bytes(3 * MIB + 5, 1)),
        ("triggers.csv", b"trigger\n".to_vec()),
        ("000002.mkv", bytes(20 * MIB + 123, 2)),
        ("take.toml", b"format = 1\n".to_vec()),
    ]
}

const ALL: u64 = 23 * MIB + 128;

fn assert_whole(at: &At) {
    for (name, bytes) in files().iter().filter(|(name, _)| name.ends_with(".mkv")) {
        assert!(at.read(name).as_ref() == Some(bytes), "{name} at {}", at.place());
    }
    let left = at.names().into_iter().find(|name| name.ends_with(".gathering"));
    assert_eq!(left, None);
}

#[test]
fn recordings_move_and_lists_of_the_part_stay() {
    for at in At::each() {
        let mut host = Host::new(&files());
        // Reads of a host need not fit into parts of a store.
        host.gives = 700_001;
        host.files.push(File::of("nothing.mkv", b""));
        host.bytes.push(Vec::new());
        let gathered = |host: &mut Host<'_>| {
            let mut told = 0;
            let stop = AtomicBool::new(false);
            let pace = Pace::unlimited();
            let came = collect(host, &at.place(), &pace, &mut |more| told += more, &stop);
            let came = came.expect("a transfer");
            assert_eq!((came.verified, came.stopped, told), (3, false, ALL), "{}", at.place());
            came.fetched_bytes
        };
        assert_eq!(gathered(&mut host), ALL);
        assert_whole(&at);
        assert_eq!(at.read("nothing.mkv"), Some(Vec::new()));
        assert_eq!((at.read("triggers.csv"), at.read("take.toml")), (None, None));
        // What is there is not fetched again, be it that nobody knows how it came there.
        assert_eq!(gathered(&mut host), 0);
        if let At::Store(bucket) = &at {
            assert_eq!(at.names().len(), 3);
            std::fs::remove_dir_all(bucket.notes.path()).expect("a folder");
        }
        assert_eq!(gathered(&mut host), 0);
        assert_eq!(host.given, ALL);
    }
}

#[test]
fn a_transfer_goes_on_where_the_host_vanished() {
    for at in At::each() {
        let vanishes = |_, offset| match offset {
            offset if offset < 13 * MIB => Ok(()),
            _ => Err(Error::Device("host b does not answer".to_owned())),
        };
        let mut host = Host::new(&files()).with(vanishes);
        host.gives = 700_001;
        assert_eq!(refusal(&mut host, &at.place()), "host b does not answer");
        assert!(at.read("000001.mkv").is_some() && at.read("000002.mkv").is_none());
        let first = host.given;
        let mut back = Host::new(&files());
        let came = gather(&mut back, &at.place()).expect("a transfer");
        assert_eq!((came.verified, came.fetched_bytes), (2, back.given));
        assert_whole(&at);
        let again = first + back.given - ALL;
        assert!(again <= at.again_max(), "{again} bytes came twice to {}", at.place());
    }
}

/// Kills this process, as `kill -9` does, when the host is read at so many bytes.
fn be_killed(place: &Place) {
    let mut host = Host::new(&files()).with(|_, offset| {
        if offset >= 13 * MIB {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("a kill");
        }
        Ok(())
    });
    let came = gather(&mut host, place);
    panic!("it lived: {came:?}");
}

#[test]
fn a_transfer_goes_on_where_its_process_was_killed() {
    const PLACE: &str = "GENLOCK_TEST_KILLED_AT";
    if let Ok(place) = std::env::var(PLACE) {
        let words: Vec<_> = place.split(' ').collect();
        match words[..] {
            [folder] => be_killed(&Place::parse(folder, Path::new("")).expect("a place")),
            [bucket, endpoint, notes] => {
                be_killed(&place_in_store(bucket, endpoint, Path::new(notes)));
            }
            _ => panic!("{place}"),
        }
    }
    for at in At::each() {
        let place = match &at {
            At::Folder(_) => at.place().to_string(),
            At::Store(bucket) => {
                format!("{} {} {}", bucket.name, bucket.endpoint, bucket.notes.path().display())
            }
        };
        let own = std::env::current_exe().expect("a path");
        let name = "a_transfer_goes_on_where_its_process_was_killed";
        let killed = Command::new(own).args(["--exact", name]).env(PLACE, place).output();
        let killed = killed.expect("it runs");
        let signal = std::os::unix::process::ExitStatusExt::signal(&killed.status);
        assert_eq!(signal, Some(9), "{}", String::from_utf8_lossy(&killed.stdout));
        let mut host = Host::new(&files());
        gather(&mut host, &at.place()).expect("a transfer");
        assert_whole(&at);
        // The first file is not read again, nor what of the second had come.
        let missing_at_most = 7 * MIB + 123 + at.again_max();
        assert!(host.given <= missing_at_most, "{} bytes to {}", host.given, at.place());
    }
}

#[test]
fn what_was_damaged_on_the_way_is_fetched_once_more() {
    for at in At::each() {
        let mut host = Host::new(&files());
        host.damaged = 1;
        let came = gather(&mut host, &at.place()).expect("the second time it is right");
        assert_eq!(came.fetched_bytes, ALL + 3 * MIB + 5);
        assert_whole(&at);
    }
}

#[test]
fn bytes_that_are_wrong_twice_are_an_error_and_not_kept() {
    for at in At::each() {
        let mut host = Host::new(&files());
        host.bytes[2][9_000_000] ^= 1;
        let text = refusal(&mut host, &at.place());
        let said = text.starts_with("host b: 000002.mkv has other bytes") && text.contains("twice");
        assert!(said && text.contains(&host.files[2].crc32), "{text}");
        assert!(at.read("000001.mkv").is_some() && at.read("000002.mkv").is_none());
        assert!(!at.names().iter().any(|name| name.starts_with("000002")), "{:?}", at.names());
        assert_eq!(host.given, ALL + 20 * MIB + 123);
    }
}

#[test]
fn a_host_whose_file_is_not_as_long_as_it_says_is_refused() {
    for at in At::each() {
        let mut host = Host::new(&files());
        host.bytes[0].truncate(2_000_000);
        let text = refusal(&mut host, &at.place());
        assert!(text.contains("host b: 000001.mkv ends after 2000000 bytes"), "{text}");
        let mut host = Host::new(&files());
        host.bytes[0].push(0);
        let text = refusal(&mut host, &at.place());
        assert!(text.contains("000001.mkv gave ") && text.contains("says 3145733"), "{text}");
        assert!(at.read("000001.mkv").is_none(), "it is at {}", at.place());
        let mut host = Host::new(&files());
        host.gives = 2 << 20;
        let text = refusal(&mut host, &at.place());
        assert!(text.contains("gave 2097152 bytes from"), "{text}");
    }
}

#[test]
fn files_of_others_are_not_overwritten() {
    for at in At::each() {
        let others = [bytes(3 * MIB + 5, 9), b"short".to_vec()];
        for other in others {
            at.write("000001.mkv", &other);
            let mut host = Host::new(&files());
            let text = refusal(&mut host, &at.place());
            assert!(text.contains("exists with other bytes and is not overwritten"), "{text}");
            assert!(at.read("000001.mkv") == Some(other) && host.given == 0);
        }
    }
    // Nor those that come while the file is on its way.
    for at in At::each() {
        let mut host = Host::new(&files()).with(|file, offset| {
            if (file, offset) == (0, MIB) {
                at.write("000001.mkv", b"theirs");
            }
            Ok(())
        });
        let text = refusal(&mut host, &at.place());
        assert!(text.contains("000001.mkv"), "{text}");
        drop(host);
        assert_eq!(at.read("000001.mkv"), Some(b"theirs".to_vec()));
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused_before_anything_is_written() {
    for at in At::each() {
        for name in ["../../evil.mkv", "/tmp/evil.mkv", "evil.sh", "evil.mkv.gathering"] {
            let mut host = Host::new(&files());
            host.files[3].name = name.to_owned();
            let text = refusal(&mut host, &at.place());
            assert!(text.starts_with("host b: ") && text.contains("is no name of"), "{text}");
            assert_eq!((host.given, at.names()), (0, Vec::new()));
        }
        let mut host = Host::new(&files());
        host.files[3].bytes = u64::MAX;
        let text = refusal(&mut host, &at.place());
        assert!(text.contains("take.toml has 18446744073709551615 bytes"), "{text}");
        assert_eq!((host.given, at.names()), (0, Vec::new()));
    }
}

#[test]
fn a_stop_ends_it_and_the_next_one_goes_on() {
    for at in At::each() {
        let stop = AtomicBool::new(false);
        let mut host = Host::new(&files()).with(|_, offset| {
            stop.store(offset >= 13 * MIB, Ordering::Relaxed);
            Ok(())
        });
        let pace = Pace::unlimited();
        let came = collect(&mut host, &at.place(), &pace, &mut |_| (), &stop).expect("no error");
        assert_eq!((came.verified, came.stopped), (1, true));
        assert_eq!(came.fetched_bytes, host.given);
        drop(host);
        let mut host = Host::new(&files());
        gather(&mut host, &at.place()).expect("a transfer");
        assert_whole(&at);
        assert!(host.given <= 7 * MIB + at.again_max(), "{} bytes came again", host.given);
    }
}

#[test]
fn the_pace_is_kept() {
    const RATE: u64 = 2_000_000;
    for at in At::each() {
        let clock = Clock::simulated();
        let pace = Pace::new("2MB/s".parse().ok(), clock.clone());
        let given = Cell::new(0);
        let mut host = Host::new(&files()[..1]).with(|_, _| {
            // Whatever came has had its time, but for what a tenth of a second may bring at once.
            let most = (clock.now_ns() + 100_000_000) * RATE / 1_000_000_000;
            assert!(given.get() <= most, "{} of {most} bytes", given.get());
            given.set(given.get() + MIB);
            Ok(())
        });
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    clock.move_to(clock.now_ns() + 1_000_000);
                    std::thread::yield_now();
                }
            });
            let stop = AtomicBool::new(false);
            let came = collect(&mut host, &at.place(), &pace, &mut |_| (), &stop);
            done.store(true, Ordering::Relaxed);
            assert_eq!(came.map(|came| came.verified), Ok(1));
        });
        assert!(clock.now_ns() > 1_400_000_000, "three of its four reads took half a second each");
    }
}

#[test]
fn a_file_that_a_power_cut_damaged_is_fetched_once_more() {
    for at in At::each().filter(|at| matches!(at, At::Folder(_))) {
        at.write("000001.mkv.gathering", &vec![0; 2_000_000]);
        at.write("000002.mkv.gathering", &bytes(30 * MIB, 2));
        let came = gather(&mut Host::new(&files()), &at.place()).expect("a transfer");
        assert_eq!(came.fetched_bytes, ALL - 2_000_000 + 3 * MIB + 5);
        assert_whole(&at);
    }
}

#[test]
fn a_disk_that_gives_back_other_bytes_is_noticed() {
    for at in At::each().filter(|at| matches!(at, At::Folder(_))) {
        let damage = Cell::new(1);
        let At::Folder(folder) = &at else { continue };
        let part = folder.path().join("a/0001/000001.mkv.gathering");
        let mut host = Host::new(&files()).with(|file, offset| {
            if (file, offset) == (0, 3 * MIB) && damage.get() > 0 {
                damage.set(damage.get() - 1);
                let opened = std::fs::OpenOptions::new().write(true).open(&part);
                let opened = opened.expect("it grows under this name");
                std::os::unix::fs::FileExt::write_all_at(&opened, b"?", 5).expect("room");
            }
            Ok(())
        });
        let came = gather(&mut host, &at.place()).expect("the second time it is right");
        assert_eq!(came.fetched_bytes, ALL + 3 * MIB + 5);
        std::fs::remove_file(folder.path().join("a/0001/000001.mkv")).expect("it was there");
        damage.set(2);
        let text = refusal(&mut host, &at.place());
        assert!(text.contains("of what the disk gives back"), "{text}");
        drop(host);
        assert!(at.read("000001.mkv").is_none() && at.read("000001.mkv.gathering").is_none());
    }
}

#[test]
fn hosts_are_gathered_side_by_side() {
    for at in At::each() {
        let (place, pace) = (at.place(), Pace::new("1GB/s".parse().ok(), Clock::machine()));
        let stop = AtomicBool::new(false);
        let one_of = |file: usize| {
            let mut host = Host::new(&files()[file..=file]);
            collect(&mut host, &place.clone(), &pace.clone(), &mut |_| (), &stop)
        };
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| one_of(2));
            (one_of(0), second.join().expect("no panic"))
        });
        assert_eq!([first, second].map(|came| came.map(|came| came.verified)), [Ok(1), Ok(1)]);
        assert_whole(&at);
    }
}

#[test]
fn two_do_not_gather_the_same_file() {
    for at in At::each().filter(|at| matches!(at, At::Folder(_))) {
        let place = at.place();
        let mut host = Host::new(&files()).with(|file, offset| {
            if (file, offset) == (2, MIB) {
                let text = refusal(&mut Host::new(&files()), &place);
                assert!(text.contains("is being gathered by another genlock"), "{text}");
            }
            Ok(())
        });
        gather(&mut host, &at.place()).expect("the first goes on");
        assert_whole(&at);
    }
}

#[test]
fn a_disk_without_room_is_noticed_beforehand_or_in_the_middle() {
    let Some(disk) = SmallDisk::mount("tmpfs", 28) else { return };
    let mut files = files();
    files[1] = ("large.mkv", bytes(6 * MIB, 3));
    let place = Place::parse(&disk.path().join("t").to_string_lossy(), Path::new(""));
    let place = place.expect("a place");
    let mut host = Host::new(&files);
    let text = refusal(&mut host, &place);
    let said = text.contains("MB free, and 30.4 MB are to come from host b: free some space");
    assert!(said && host.given == 0 && !disk.path().join("t").exists(), "{text}");
    let mut host = Host::new(&files[2..]).with(|_, offset| {
        if offset == 5 * MIB {
            disk.fill();
        }
        Ok(())
    });
    let text = refusal(&mut host, &place);
    assert!(text.contains("cannot write") && text.contains("No space"), "{text}");
    let first = host.given;
    drop(host);
    std::fs::remove_file(disk.path().join("others")).expect("it filled the disk");
    let mut host = Host::new(&files[2..]);
    gather(&mut host, &place).expect("there is room again");
    assert!(std::fs::read(disk.path().join("t/000002.mkv")).is_ok_and(|there| there == files[2].1));
    // The read that found no room may come again.
    assert!(first + host.given <= 21 * MIB + 123, "{first} and {} bytes", host.given);
}

#[test]
fn lists_are_written_whole_and_replaced_only_on_demand() {
    for at in At::each() {
        let place = at.place();
        assert_eq!(place.text("take.toml"), Ok(None));
        place.put_text("take.toml", "format = 1\n").expect("room");
        place.put_text("take.toml", "format = 1\n").expect("it is there already");
        let text = place.put_text("take.toml", "format = 2\n").map_err(|error| error.to_string());
        assert!(text.is_err_and(|text| text.contains("take.toml exists with other bytes")));
        assert_eq!(place.text("take.toml"), Ok(Some("format = 1\n".to_owned())));
        place.replace_text("take.toml", "format = 3\n").expect("room");
        place.replace_text("triggers.csv", "trigger\n").expect("room");
        assert_eq!(at.read("take.toml"), Some(b"format = 3\n".to_vec()));
        assert_eq!(at.read("triggers.csv"), Some(b"trigger\n".to_vec()));
        assert!(!at.names().iter().any(|name| name.contains("gathering")), "{:?}", at.names());
    }
}

#[test]
fn an_upload_that_the_store_dropped_begins_anew() {
    let Some(bucket) = Bucket::new() else { return };
    let dropped = Arc::new(Mutex::new("uploadId=none of them".to_owned()));
    let known = Arc::clone(&dropped);
    // As Amazon answers; the server of these tests fails within.
    let endpoint = meddled(&bucket, move |first, answer| {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 40\r\nConnection: close\r\n\r\n\
                    <Error><Code>NoSuchUpload</Code></Error>";
        let is_dropped = known.lock().is_ok_and(|dropped| first.contains(dropped.as_str()));
        if is_dropped { text.as_bytes().to_vec() } else { answer }
    });
    let place = || place_in_store(&bucket.name, &endpoint, bucket.notes.path());
    let vanishes = |_, offset| match offset {
        offset if offset < 17 * MIB => Ok(()),
        _ => Err(Error::Device("host b does not answer".to_owned())),
    };
    let text = refusal(&mut Host::new(&files()[2..]).with(vanishes), &place());
    assert_eq!(text, "host b does not answer");
    let notes = std::fs::read_dir(bucket.notes.path()).expect("a folder").last();
    let notes = std::fs::read_to_string(notes.expect("a file").expect("an entry").path());
    let notes: serde_json::Value = serde_json::from_str(&notes.expect("a text")).expect("JSON");
    let sending = &notes["state"]["sending"];
    assert_eq!(sending["parts"].as_array().map(Vec::len), Some(2));
    let upload = sending["upload"].as_str().expect("a name");
    *dropped.lock().expect("no other thread failed") = format!("uploadId={upload}");
    let mut host = Host::new(&files()[2..]);
    gather(&mut host, &place()).expect("a transfer");
    assert!(At::Store(bucket).read("000002.mkv").as_ref() == Some(&files()[2].1));
    // The whole file, and what was read for the part that found no upload.
    assert_eq!(host.given, 24 * MIB + 246);
}

#[test]
fn a_store_that_gives_back_other_bytes_is_noticed() {
    let Some(bucket) = Bucket::new() else { return };
    let damaged = AtomicU32::new(1);
    let endpoint = meddled(&bucket, move |first, mut answer| {
        let is_damaged = first.starts_with("GET ") && damaged.load(Ordering::Relaxed) != 0;
        if let Some(last) = answer.last_mut().filter(|_| is_damaged) {
            *last ^= 1;
            damaged.fetch_sub(1, Ordering::Relaxed);
        }
        answer
    });
    let place = place_in_store(&bucket.name, &endpoint, bucket.notes.path());
    let came = gather(&mut Host::new(&files()), &place).expect("the second time it is right");
    assert_eq!(came.fetched_bytes, ALL + 3 * MIB + 5);
    assert_whole(&At::Store(bucket));
    let Some(bucket) = Bucket::new() else { return };
    let endpoint = meddled(&bucket, |first, mut answer| {
        if let Some(last) = answer.last_mut().filter(|_| first.starts_with("GET ")) {
            *last ^= 1;
        }
        answer
    });
    let place = place_in_store(&bucket.name, &endpoint, bucket.notes.path());
    let text = refusal(&mut Host::new(&files()), &place);
    assert!(text.contains("of what the store gives back"), "{text}");
    let at = At::Store(bucket);
    assert!(at.read("000001.mkv").is_none() && at.names().is_empty(), "{:?}", at.names());
}

#[test]
fn a_store_that_is_away_says_what_to_look_at() {
    let notes = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let place = place_in_store("lab", &endpoint, notes.path());
    // It takes the call and says nothing: the stop ends the wait.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let silent = scope.spawn(|| {
            let call = listener.accept();
            stop.store(true, Ordering::Relaxed);
            call
        });
        let pace = Pace::unlimited();
        let came = collect(&mut Host::new(&files()), &place, &pace, &mut |_| (), &stop);
        assert!(came.is_ok_and(|came| came.stopped));
        assert!(silent.join().is_ok_and(|call| call.is_ok()));
    });
    drop(listener);
    let text = refusal(&mut Host::new(&files()), &place);
    let said = text.contains("s3://lab/a/0001/000001.mkv at http://127.0.0.1:");
    assert!(said && text.contains("is the store there? Look at the AWS_ variables"), "{text}");
    let Some(bucket) = Bucket::new() else { return };
    let elsewhere = place_in_store("nowhere", &bucket.endpoint, notes.path());
    let text = refusal(&mut Host::new(&files()), &elsewhere);
    assert!(text.contains("is there such a bucket?"), "{text}");
}
