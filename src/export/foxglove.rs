//! The messages of an MCAP file; [`super::schema`] has their fields.

use super::protobuf::Message;
use super::scene::Cloud;
use genlock_formats::k4a::{Camera, ImuSample, Rigid};

fn timestamp(ns: u64) -> Message {
    Message::default().varint(1, ns / 1_000_000_000).varint(2, ns % 1_000_000_000)
}

/// A message that begins with its time.
fn at(ns: u64) -> Message {
    Message::default().message(1, &timestamp(ns))
}

fn vector([x, y, z]: [f64; 3]) -> Message {
    Message::default().double(1, x).double(2, y).double(3, z)
}

fn quaternion([x, y, z, w]: [f64; 4]) -> Message {
    vector([x, y, z]).double(4, w)
}

/// An image in a file's form.
pub fn compressed_image(ns: u64, frame: &str, format: &str, bytes: &[u8]) -> Vec<u8> {
    at(ns).string(4, frame).bytes(2, bytes).string(3, format).into_bytes()
}

/// An image of 16-bit pixels, little-endian.
pub fn raw_image(ns: u64, frame: &str, size: (u32, u32), encoding: &str, pixels: &[u8]) -> Vec<u8> {
    let message = at(ns).string(7, frame).fixed32(2, size.0).fixed32(3, size.1);
    message.string(4, encoding).fixed32(5, size.0 * 2).bytes(6, pixels).into_bytes()
}

/// A camera, with OpenCV's rational model of its lens.
pub fn camera(ns: u64, frame: &str, camera: &Camera) -> Vec<u8> {
    let Camera { width, height, cx, cy, fx, fy, k, p, .. } = camera;
    let [fx, fy, cx, cy] = [fx, fy, cx, cy].map(|value| f64::from(*value));
    let [k1, k2, k3, k4, k5, k6] = k.map(f64::from);
    let [p1, p2] = p.map(f64::from);
    let message = at(ns).string(9, frame).fixed32(2, *width).fixed32(3, *height);
    let message = message.string(4, "rational_polynomial");
    let message = message.doubles(5, &[k1, k2, p1, p2, k3, k4, k5, k6]);
    let message = message.doubles(6, &[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]);
    let message = message.doubles(7, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let projection = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0];
    message.doubles(8, &projection).into_bytes()
}

/// Where a frame stands in another, in metres.
pub fn transform(ns: u64, parent: &str, child: &str, parent_from_child: &Rigid) -> Vec<u8> {
    let metres = parent_from_child.translation_mm.map(|mm| f64::from(mm) / 1000.0);
    let rotation = quaternion(rotation_of(&parent_from_child.rotation));
    let message = at(ns).string(2, parent).string(3, child).message(4, &vector(metres));
    message.message(5, &rotation).into_bytes()
}

/// A cloud of points in metres, each with its color.
pub fn point_cloud(ns: u64, frame: &str, cloud: &Cloud<'_>) -> Vec<u8> {
    const FLOAT32: u64 = 7;
    const UINT8: u64 = 1;
    let pose = Message::default().message(1, &vector([0.0; 3]));
    let pose = pose.message(2, &quaternion([0.0, 0.0, 0.0, 1.0]));
    let mut fields = vec![("x", 0, FLOAT32), ("y", 4, FLOAT32), ("z", 8, FLOAT32)];
    if cloud.is_colored() {
        // Named and ordered as Foxglove finds colors by itself.
        fields.extend([("red", 12, UINT8), ("green", 13, UINT8), ("blue", 14, UINT8)]);
        fields.push(("alpha", 15, UINT8));
    }
    let stride = if cloud.is_colored() { 16 } else { 12 };
    let mut data = Vec::with_capacity(cloud.points_max() * stride);
    for ([x, y, z], [red, green, blue]) in cloud.points() {
        let mut point = [0; 16];
        let (axes, color) = point.split_at_mut(12);
        for (axis, metres) in axes.as_chunks_mut::<4>().0.iter_mut().zip([x, y, z]) {
            *axis = metres.to_le_bytes();
        }
        color.copy_from_slice(&[red, green, blue, u8::MAX]);
        data.extend_from_slice(&point[..stride]);
    }
    let message = at(ns).string(2, frame).message(3, &pose).fixed32(4, stride as u32);
    let message = fields.into_iter().fold(message, |message, (name, offset, kind)| {
        let field = Message::default().string(1, name).fixed32(2, offset).varint(3, kind);
        message.message(5, &field)
    });
    message.bytes(6, &data).into_bytes()
}

/// A sample of the IMU.
pub fn imu(ns: u64, frame: &str, sample: &ImuSample) -> Vec<u8> {
    let [acceleration, rate] = [sample.accelerometer, sample.gyroscope].map(|v| v.map(f64::from));
    let message = at(ns).string(2, frame).message(3, &vector(acceleration));
    message.message(4, &vector(rate)).into_bytes()
}

/// A rotation as a quaternion x, y, z, w.
fn rotation_of(rotation: &[f32; 9]) -> [f64; 4] {
    let [a, b, c, d, e, f, g, h, i] = rotation.map(f64::from);
    let r = [[a, b, c], [d, e, f], [g, h, i]];
    let diagonal = [r[0][0], r[1][1], r[2][2]];
    let trace: f64 = diagonal.iter().sum();
    // The largest component is worked out first: a division by it is safe.
    let parts = if trace > 0.0 {
        [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1], 1.0 + trace]
    } else if diagonal[0] >= diagonal[1].max(diagonal[2]) {
        let x = 1.0 + r[0][0] - r[1][1] - r[2][2];
        [x, r[1][0] + r[0][1], r[0][2] + r[2][0], r[2][1] - r[1][2]]
    } else if diagonal[1] >= diagonal[2] {
        let y = 1.0 - r[0][0] + r[1][1] - r[2][2];
        [r[1][0] + r[0][1], y, r[2][1] + r[1][2], r[0][2] - r[2][0]]
    } else {
        let z = 1.0 - r[0][0] - r[1][1] + r[2][2];
        [r[0][2] + r[2][0], r[2][1] + r[1][2], z, r[1][0] - r[0][1]]
    };
    let length = parts.iter().map(|part| part * part).sum::<f64>().sqrt();
    parts.map(|part| part / length.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_about_each_axis_are_quaternions() {
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let near = |rotation: [[f32; 3]; 3], expected: [f64; 4]| {
            let found = rotation_of(&rotation.concat().try_into().expect("nine"));
            let far = found.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-6);
            assert!(!far, "{found:?} {expected:?}");
        };
        near([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 0.0, 1.0]);
        near([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], [half, 0.0, 0.0, half]);
        near([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], [0.0, half, 0.0, half]);
        near([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, half, half]);
        near([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]], [1.0, 0.0, 0.0, 0.0]);
        near([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]], [0.0, 1.0, 0.0, 0.0]);
        near([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 1.0, 0.0]);
    }
}
