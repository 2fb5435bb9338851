//! What the front of a recording says, held against its checksums and against its blocks.

use genlock_formats::k4a::{ImuSample, Recording, TrackName};

/// What is wrong in the front of a file that opens.
pub(super) fn problems(recording: &Recording<'_>) -> Vec<String> {
    let demuxer = recording.demuxer();
    let mut problems: Vec<_> = demuxer.changed_parts().iter().map(ToString::to_string).collect();
    problems.extend(calibration_problem(recording));
    problems.extend(offset_problem(recording));
    problems
}

fn calibration_problem(recording: &Recording<'_>) -> Option<String> {
    let read = serde_json::from_slice::<serde_json::Value>(recording.calibration()?);
    read.err().map(|cause| format!("the attached calibration is not JSON: {cause}"))
}

/// A block's time counts from the start offset, and IMU samples carry device time: together they
/// tell a start offset that is wrong.
fn offset_problem(recording: &Recording<'_>) -> Option<String> {
    let track = recording.track(TrackName::Imu)?.number;
    let block = recording.blocks().flatten().find(|block| block.track == track)?;
    let sample = block.frames.clone().next()?.first_chunk::<{ ImuSample::BYTES }>()?;
    let sample_ns = i128::from(ImuSample::from_bytes(sample).accelerometer_ns);
    let offset_ns = recording.configuration().start_offset_ns;
    let block_ns = i128::from(offset_ns) + i128::from(block.time_ns);
    // Times in the file are whole ticks, and the offset is whole microseconds.
    let rounding_ns = recording.demuxer().header().info.timestamp_scale_ns + 1000;
    let apart_ns = (sample_ns - block_ns).unsigned_abs();
    (apart_ns > u128::from(rounding_ns)).then(|| {
        format!(
            "the first IMU sample is at {} us of device time, its block and the start offset say \
             {} us (at byte {})",
            sample_ns / 1000,
            block_ns / 1000,
            block.at
        )
    })
}
