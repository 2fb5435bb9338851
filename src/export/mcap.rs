//! One MCAP file with Foxglove's messages, as Foxglove and Rerun show them.

use super::container::{Channel, Container, Entry};
use super::foxglove;
use super::image::{color_file, size};
use super::png::calibration;
use super::scene::{Optics, Scene};
use super::schema::descriptor_set;
use super::sink::{ImuForm, Made, Shape, Sink, View};
use crate::error::Result;
use crate::replay::{Selected, Slot};
use genlock_formats::k4a::{Camera, Image, TrackName};

/// The format `mcap`.
pub struct Mcap {
    channels: Vec<Channel>,
    /// The channels of each device, by its place in the take.
    devices: Vec<Topics>,
}

/// The channels of a device.
struct Topics {
    place: usize,
    stem: String,
    calibration: Vec<u8>,
    color: Option<u16>,
    depth: Option<u16>,
    ir: Option<u16>,
    imu: Option<u16>,
    color_camera: Option<u16>,
    depth_camera: Option<u16>,
    pose: Option<u16>,
    cloud: Option<u16>,
}

impl Mcap {
    /// For these devices; with clouds of points, if they are wanted.
    pub fn new(selected: &Selected<'_, '_>, scene: &Scene, clouds: bool) -> Self {
        let mut channels = Vec::new();
        let mut add = |is_there: bool, topic: String, schema| {
            let number = u16::try_from(channels.len()).ok().filter(|_| is_there)?;
            channels.push(Channel { topic, schema });
            Some(number)
        };
        let devices = selected.devices.iter().map(|chosen| {
            let stem = &chosen.stem;
            let tracks: Vec<_> = chosen.device.recording().tracks().collect();
            let has = |track| selected.has(track) && tracks.contains(&track);
            let calibration_of = scene.optics(chosen.place).map(|optics| &optics.calibration).ok();
            let color = calibration_of.is_some_and(|of| of.color.is_some());
            let depth = calibration_of.is_some_and(|of| of.depth.is_some());
            let topic = |name: &str| format!("/{stem}/{name}");
            let image = "foxglove.CompressedImage";
            let raw = "foxglove.RawImage";
            let camera = "foxglove.CameraCalibration";
            Topics {
                place: chosen.place,
                stem: stem.clone(),
                calibration: calibration(chosen.device),
                color: add(has(TrackName::Color), topic("color/image"), image),
                color_camera: add(color, topic("color/calibration"), camera),
                depth: add(has(TrackName::Depth), topic("depth/image"), raw),
                ir: add(has(TrackName::Ir), topic("ir/image"), raw),
                depth_camera: add(depth, topic("depth/calibration"), camera),
                pose: add(color && depth, topic("tf"), "foxglove.FrameTransform"),
                imu: add(has(TrackName::Imu), topic("imu"), "genlock.Imu"),
                cloud: add(
                    clouds && depth && has(TrackName::Depth),
                    topic("points"),
                    "foxglove.PointCloud",
                ),
            }
        });
        let devices = devices.collect();
        Self { channels, devices }
    }
}

/// Where messages of a trigger go.
struct Writer<'m, 'c> {
    sequence: u32,
    made: &'m mut Made<'c>,
}

impl Writer<'_, '_> {
    fn put(&mut self, channel: Option<u16>, time_ns: u64, data: impl FnOnce() -> Vec<u8>) {
        if let Some(channel) = channel {
            let sequence = self.sequence;
            self.made.entries.push(Entry { channel, sequence, time_ns, data: data() });
        }
    }
}

impl Sink for Mcap {
    fn shape(&self) -> Shape {
        Shape::One
    }

    fn imu(&self) -> ImuForm {
        ImuForm::None
    }

    fn front(&self) -> Result<Option<(Container, Vec<u8>)>> {
        let (mut container, mut bytes) = Container::begin(&self.channels, descriptor_set)?;
        for topics in self.devices.iter().filter(|topics| !topics.calibration.is_empty()) {
            let name = format!("{}/calibration.json", topics.stem);
            let json = "application/json";
            bytes.extend(container.attachment(&name, json, &topics.calibration)?);
        }
        Ok(Some((container, bytes)))
    }

    fn device<'c>(&self, view: &View<'c, '_>, scene: &mut Scene, made: &mut Made<'c>) {
        let place = view.chosen.place;
        let Some(topics) = self.devices.iter().find(|topics| topics.place == place) else { return };
        topics.images(view, made);
        if topics.cloud.is_some() {
            topics.cloud(view, scene, made);
        }
        let frames = view.frames.slots().map(Slot::frame);
        if let (Some(first), Ok(optics)) =
            (frames.into_iter().flatten().next(), scene.optics(place))
        {
            topics.cameras(view, first, optics, made);
        }
        topics.samples(view, made);
    }
}

impl Topics {
    fn frame(&self, camera: &str) -> String {
        format!("{}/{camera}", self.stem)
    }

    fn images<'c>(&self, view: &View<'c, '_>, made: &mut Made<'c>) {
        let sequence = view.trigger as u32;
        if let Slot::Frame(color) = &view.frames.color {
            let (ns, frame) = (view.ns(color), self.frame("color"));
            match color_file(size(color), view.color_format(), &color.bytes) {
                Err(cause) => made.lose(view, TrackName::Color, &cause),
                Ok((end, bytes)) => {
                    let format = if end == "jpg" { "jpeg" } else { end };
                    let message = || foxglove::compressed_image(ns, &frame, format, &bytes);
                    Writer { sequence, made }.put(self.color, ns, message);
                    made.images += 1;
                }
            }
        }
        let frame = self.frame("depth");
        let gray = [
            (self.depth, TrackName::Depth, &view.frames.depth, "16UC1"),
            (self.ir, TrackName::Ir, &view.frames.ir, "mono16"),
        ];
        for (channel, track, slot, encoding) in gray {
            let Slot::Frame(image) = slot else { continue };
            let (ns, size, pixels) = (view.ns(image), size(image), image.pixels_le());
            if pixels.len() as u64 != image.width * image.height * 2 {
                made.lose(view, track, "not of the size of its track");
                continue;
            }
            let message = || foxglove::raw_image(ns, &frame, size, encoding, &pixels);
            Writer { sequence, made }.put(channel, ns, message);
            made.images += 1;
        }
    }

    fn cloud<'c>(&self, view: &View<'c, '_>, scene: &mut Scene, made: &mut Made<'c>) {
        let Slot::Frame(depth) = &view.frames.depth else { return };
        // Color that cannot be decoded has a message of its own all the same: it is told of here.
        let rgb = view.frames.color.frame().and_then(|color| {
            view.rgb(color).map_err(|cause| made.lose(view, TrackName::Color, &cause)).ok()
        });
        let (ns, frame) = (view.ns(depth), self.frame("depth"));
        let cloud = scene.optics_mut(self.place).and_then(|optics| {
            let cloud = optics.cloud(depth, rgb.as_deref())?;
            Ok(foxglove::point_cloud(ns, &frame, &cloud))
        });
        match cloud {
            Err(cause) => made.lose(view, TrackName::Depth, &cause),
            Ok(data) => {
                let sequence = view.trigger as u32;
                Writer { sequence, made }.put(self.cloud, ns, || data);
            }
        }
    }

    /// Cameras and their poses do not change; they are said with every trigger, so that a reader
    /// that begins anywhere has them.
    fn cameras(
        &self,
        view: &View<'_, '_>,
        first: &Image<'_>,
        optics: &Optics,
        made: &mut Made<'_>,
    ) {
        let ns = view.ns(first);
        let mut writer = Writer { sequence: view.trigger as u32, made };
        let known = &optics.calibration;
        let mut camera = |channel, name: &str, camera: Option<&Camera>| {
            let Some(camera) = camera else { return };
            writer.put(channel, ns, || foxglove::camera(ns, &self.frame(name), camera));
        };
        camera(self.color_camera, "color", known.color.as_ref());
        camera(self.depth_camera, "depth", known.depth.as_ref());
        writer.put(self.pose, ns, || {
            // A child's pose is how a point of it is seen from the parent.
            let (parent, child) = (self.frame("depth"), self.frame("color"));
            foxglove::transform(ns, &parent, &child, &known.depth_from_color)
        });
    }

    fn samples(&self, view: &View<'_, '_>, made: &mut Made<'_>) {
        if self.imu.is_none() || view.imu_us.is_empty() {
            return;
        }
        for sample in view.chosen.device.imu(view.imu_us.clone()) {
            match sample {
                Err(cause) => made.lose(view, TrackName::Imu, &format!("damaged: {cause}")),
                Ok(sample) => {
                    let ns = view.times.ns(self.place, sample.accelerometer_ns);
                    let message = || foxglove::imu(ns, &self.frame("imu"), &sample);
                    Writer { sequence: view.trigger as u32, made }.put(self.imu, ns, message);
                }
            }
        }
    }
}
