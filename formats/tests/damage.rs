//! Damaged and odd files: never a panic, never without end, and what is whole is still read.

use genlock_formats::k4a::{
    About, Configuration, DepthMode, Device, Rate, Recording, Role, header,
};
use genlock_formats::mkv::{Block, Checksum, ClusterLayout, Demuxer, Muxer, Payload};

/// A recording of `clusters` clusters with one color image each and three IMU samples; with the
/// byte offsets at which its clusters begin, and its end without Cues.
fn recording(clusters: u64) -> (Vec<u8>, Vec<usize>) {
    let configuration = Configuration {
        color: Some("720p".parse().expect("a mode")),
        depth: None::<DepthMode>,
        rate: Rate::Fps30,
        imu: true,
        role: Role::Standalone,
        subordinate_delay_us: 0,
        depth_delay_us: 0,
        start_offset_ns: 5_000_000,
    };
    let device = Device {
        serial: "000123".to_owned(),
        color_firmware: "1.6.110".to_owned(),
        depth_firmware: "1.6.79".to_owned(),
        calibration: b"{}".to_vec(),
    };
    let about = About { writing_app: "test".to_owned(), date_utc_ns: None, uid_seed: 1 };
    let (mut muxer, mut file) = Muxer::new(&header(&configuration, Some(&device), &about));
    let mut layout = ClusterLayout::default();
    let mut starts = Vec::new();
    for i in 0..clusters {
        starts.push(file.len());
        let (image, samples) = (image(i), [i as u8; 120]);
        let lace = Payload::Laced { bytes: &samples, frame_bytes: 40, duration_ticks: 1201 };
        let time_ticks = i * 33_333;
        let blocks = [
            Block::frame(1, time_ticks, &image),
            Block { track: 2, time_ticks: time_ticks + 5, payload: lace },
        ];
        muxer.cluster(&blocks, &mut layout).expect("a sound cluster");
        muxer.written(&blocks, &layout);
        layout.pieces(&blocks).for_each(|piece| file.extend_from_slice(piece));
    }
    starts.push(file.len());
    let finish = muxer.finish();
    file.extend(finish.append);
    for patch in finish.patches {
        let at = patch.at as usize;
        file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    // Put together from parts, and that of the whole all the same.
    assert_eq!(finish.crc32, Some(crc32fast::hash(&file)));
    (file, starts)
}

fn image(number: u64) -> Vec<u8> {
    (0..500 + number).map(|i| (i * 7 + number) as u8).collect()
}

/// Reads everything that can be read; gives the images before the first error.
fn read(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let recording = Recording::open(bytes).ok()?;
    let _ = recording.demuxer().front_fault();
    // Bounded: whatever a file says, it cannot hold more items than it has bytes.
    let limit = bytes.len() + 1;
    assert!(recording.imu().take(limit).count() < limit);
    assert!(recording.data("CUSTOM").take(limit).count() < limit);
    for cluster in recording.demuxer().clusters().take(limit).flatten() {
        let _ = cluster.checksum();
    }
    let _ = (recording.length_us(), recording.calibration(), recording.notes().len());
    let captures = recording.captures().take(limit).map_while(Result::ok);
    Some(captures.filter_map(|capture| Some(capture.color?.bytes.to_vec())).collect())
}

#[test]
fn nothing_before_a_cut_is_lost() {
    let (file, starts) = recording(6);
    for cut in starts[0]..file.len() {
        let images = read(&file[..cut]).unwrap_or_else(|| panic!("cut at {cut}"));
        let whole = starts[1..].iter().filter(|end| **end <= cut).count();
        assert!(images.len() >= whole, "cut at {cut}: {} of {whole}", images.len());
        for (number, found) in (0..).zip(&images) {
            assert!(*found == image(number), "cut at {cut}: image {number}");
        }
    }
    for cut in 0..starts[0] {
        read(&file[..cut]);
    }
}

#[test]
fn a_changed_byte_never_panics_and_never_runs_on() {
    let (file, starts) = recording(3);
    let mut changed = file.clone();
    for at in 0..file.len() {
        // Every bit of what is structure; one of what is calibration or pixels.
        let values: &[u8] = match at < starts[0] || at > starts[3] {
            true => &[0x00, 0x01, 0x7F, 0x80, 0xFF],
            false => &[0x00, 0xFF],
        };
        for value in values {
            changed[at] = *value;
            read(&changed);
        }
        changed[at] = file[at];
    }
}

#[test]
fn a_changed_payload_is_told_by_its_checksum() {
    let (mut file, starts) = recording(3);
    file[starts[1] + 60] ^= 1;
    let demuxer = Demuxer::open(&file).expect("its front is whole");
    let sums: Vec<_> = demuxer.clusters().flatten().map(|cluster| cluster.checksum()).collect();
    assert_eq!(sums, [Checksum::Good, Checksum::Bad, Checksum::Good]);
}

#[test]
fn a_changed_tag_is_told_by_its_checksum_with_its_place() {
    let (mut file, starts) = recording(1);
    assert_eq!(Demuxer::open(&file).expect("a sound file").changed_parts(), []);
    let tags = file.windows(4).rposition(|id| *id == [0x12, 0x54, 0xC3, 0x67]).expect("Tags");
    let serial = file.windows(6).position(|text| text == b"000123").expect("the serial");
    assert!(tags < serial && serial < starts[0]);
    file[serial] ^= 1;
    let changed = Demuxer::open(&file).expect("its structure is whole").changed_parts();
    let [changed] = &changed[..] else { panic!("{changed:?}") };
    assert_eq!(changed.at, tags as u64);
    assert!(changed.to_string().contains("list of tags"), "{changed}");
}

#[test]
fn elements_nested_without_end_do_not_exhaust_the_stack() {
    let (file, starts) = recording(1);
    let mut nested = file[..starts[0]].to_vec();
    nested[45..52].fill(0xFF);
    // Tags, and in it Tag in Targets in Tag, a hundred thousand deep.
    let mut level = |id: &[u8], left: usize| {
        nested.extend(id);
        nested.push(0x10);
        nested.extend(&(left as u32 * 6).to_be_bytes()[1..]);
    };
    level(&[0x12, 0x54, 0xC3, 0x67], 200_000);
    for left in (0..200_000).rev() {
        level(if left % 2 == 0 { &[0x63, 0xC0] } else { &[0x73, 0x73] }, left);
    }
    let demuxer = Demuxer::open(&nested).expect("its front is whole");
    assert_eq!(demuxer.changed_parts(), []);
    assert!(demuxer.front_fault().expect("a fault").to_string().contains("deeper"));
}

#[test]
fn a_search_for_clusters_ends_near_the_last_one() {
    let (file, starts) = recording(2);
    let mut grown = file[..starts[2]].to_vec();
    grown[45..52].fill(0xFF);
    grown.resize(300 << 20, 0);
    // A cluster so far behind that no recorder left it there.
    grown.extend_from_slice(&file[starts[0]..starts[1]]);
    let demuxer = Demuxer::open(&grown).expect("its front is whole");
    let (clusters, errors): (Vec<_>, Vec<_>) = demuxer.clusters().partition(Result::is_ok);
    assert_eq!((clusters.len(), errors.len()), (2, 1));
    let error = errors.into_iter().find_map(Result::err).expect("the end of reading");
    assert_eq!(error.at, starts[2] as u64);
    assert!(error.to_string().contains("reading ended"), "{error}");
}

#[test]
fn a_cluster_of_zeros_costs_itself_alone() {
    let (mut file, starts) = recording(4);
    file[starts[1]..starts[2]].fill(0);
    let demuxer = Demuxer::open(&file).expect("its front is whole");
    let clusters: Vec<_> = demuxer.clusters().collect();
    assert_eq!(clusters.iter().filter(|cluster| cluster.is_ok()).count(), 3);
    let error = clusters.into_iter().find_map(Result::err).expect("the zeros are told of");
    assert_eq!(error.at, starts[1] as u64);
}

#[test]
fn sizes_of_zero_and_unknown_sizes_are_read_through() {
    let (file, _) = recording(4);
    let expected = read(&file).expect("a sound file");
    assert_eq!(expected.len(), 4);
    for size in [[0_u8; 7], [0xFF; 7]] {
        let mut changed = file.clone();
        changed[45..52].copy_from_slice(&size);
        assert_eq!(read(&changed), Some(expected.clone()));
        let demuxer = Demuxer::open(&changed).expect("it opens");
        assert!(!demuxer.is_finished() && !demuxer.notes().is_empty());
    }
    // Clusters of unknown size: what many writers of live streams make.
    let (mut file, starts) = recording(4);
    for start in &starts[..4] {
        let width = file[start + 4].leading_zeros() as usize + 1;
        let ones = [0xFF_u8 >> (width - 1), 0xFF, 0xFF];
        file[start + 4..start + 4 + width].copy_from_slice(&ones[..width]);
    }
    assert_eq!(read(&file), Some(expected));
}

#[test]
fn an_index_that_lies_is_not_used() {
    let (mut file, starts) = recording(4);
    let cues = starts[4];
    // The position in the last cue, one byte off.
    *file.last_mut().expect("a byte") ^= 1;
    let demuxer = Demuxer::open(&file).expect("it opens");
    assert!(demuxer.cues().is_empty());
    assert!(demuxer.notes().iter().any(|note| note.at == cues as u64));
    assert_eq!(read(&file).map(|images| images.len()), Some(4));
}

#[test]
fn junk_behind_the_segment_and_random_files_are_survived() {
    let (mut file, _) = recording(2);
    file.extend([0xA5; 1000]);
    assert_eq!(read(&file).map(|images| images.len()), Some(2));
    let mut state = 1_u64;
    for len in [0, 1, 7, 64, 4096] {
        for _ in 0..200 {
            let mut bytes = file[..56.min(len)].to_vec();
            bytes.resize_with(len, || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            });
            read(&bytes);
        }
    }
}

#[test]
fn a_length_that_does_not_fit_is_told_of_with_its_place() {
    let (mut file, starts) = recording(2);
    assert_eq!(Demuxer::open(&file).expect("a sound file").front_fault(), None);
    let title = file.windows(3).position(|bytes| *bytes == [0x7B, 0xA9, 0x8C]).expect("Title");
    assert!(title < starts[0]);
    file[title + 2] = 0xFE;
    let demuxer = Demuxer::open(&file);
    let fault = match demuxer {
        Ok(demuxer) => demuxer.front_fault(),
        Err(error) => Some(error),
    };
    assert_eq!(fault.expect("a fault").at, title as u64);
}

#[test]
fn a_cluster_that_claims_the_rest_of_the_file_hides_no_other() {
    let (mut file, starts) = recording(4);
    // Its size, two bytes wide, made as large as they hold.
    file[starts[1] + 4..starts[1] + 6].copy_from_slice(&[0x7F, 0xFE]);
    let demuxer = Demuxer::open(&file).expect("its front is whole");
    let clusters: Vec<_> = demuxer.clusters().flatten().collect();
    let places: Vec<_> = clusters.iter().map(|cluster| cluster.at() as usize).collect();
    assert_eq!(places, starts[..4]);
    assert!(!clusters[1].is_complete());
    assert_eq!(read(&file).map(|images| images.len()), Some(4));
}
