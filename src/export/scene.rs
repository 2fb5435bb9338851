//! Where the cameras of each device stand, and what is worked out of that for every frame. Each
//! core has a scene of its own: it holds memory that is filled anew.

use crate::error::{Error, Result};
use crate::geometry::{Rays, Registration};
use crate::replay::{Chosen, Device, Selected};
use genlock_formats::k4a::{Calibration, Image};
use std::collections::BTreeMap;

/// The optics of the devices that are exported, by their place in the take.
#[derive(Clone, Default)]
pub struct Scene(BTreeMap<usize, std::result::Result<Optics, String>>);

/// The cameras of a device.
#[derive(Clone)]
pub struct Optics {
    /// As its calibration has them.
    pub calibration: Calibration,
    /// Of the depth camera, if it is on.
    rays: Option<Rays>,
    /// Between both, if they are on.
    registration: Option<Registration>,
    depth: Vec<u16>,
    points: Vec<[f32; 3]>,
    colors: Vec<[u8; 3]>,
}

/// A cloud in the depth camera's frame, in millimetres.
pub struct Cloud<'s> {
    points: &'s [[f32; 3]],
    /// As many, or none.
    colors: &'s [[u8; 3]],
}

impl Scene {
    /// Of these devices. One whose calibration cannot be read is told of when it is needed.
    pub fn of(selected: &Selected<'_, '_>) -> Self {
        let devices = selected.devices.iter();
        Self(devices.map(|chosen| (chosen.place, Optics::of(chosen.device))).collect())
    }

    /// The cameras of a device.
    ///
    /// # Errors
    /// Why they are not known, in words.
    pub fn optics(&self, place: usize) -> std::result::Result<&Optics, &str> {
        let known = self.0.get(&place).ok_or("there is no such device")?;
        known.as_ref().map_err(String::as_str)
    }

    /// The cameras of a device, to work with.
    ///
    /// # Errors
    /// Why they are not known, in words.
    pub fn optics_mut(&mut self, place: usize) -> std::result::Result<&mut Optics, String> {
        let known = self.0.get_mut(&place).ok_or("there is no such device")?;
        known.as_mut().map_err(|cause| cause.clone())
    }

    /// The same, for a format that needs them of every device.
    ///
    /// # Errors
    /// `File` when they are not known.
    pub fn required(&self, chosen: &Chosen<'_, '_>) -> Result<&Optics> {
        self.optics(chosen.place).map_err(|cause| {
            let advice = "leave the device out with --device, or choose another format";
            Error::file(chosen.device.path(), &format!("{cause}; {advice}"))
        })
    }
}

impl Optics {
    fn of(device: &Device<'_>) -> std::result::Result<Self, String> {
        let configuration = device.configuration();
        let json = device.recording().calibration().ok_or("the recording has no calibration")?;
        let calibration = Calibration::of(json, configuration.color, configuration.depth)
            .map_err(|cause| format!("the calibration cannot be used: {cause}"))?;
        Ok(Self {
            rays: calibration.depth.as_ref().map(Rays::of),
            registration: Registration::of(&calibration).ok(),
            calibration,
            depth: Vec::new(),
            points: Vec::new(),
            colors: Vec::new(),
        })
    }

    fn read(&mut self, depth: &Image<'_>) {
        let pixels = depth.pixels_le();
        self.depth.clear();
        self.depth.extend(pixels.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)));
    }

    /// The cloud of a depth image; colored, where there is color: 8-bit red, green and blue.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn cloud(
        &mut self,
        depth: &Image<'_>,
        rgb: Option<&[u8]>,
    ) -> std::result::Result<Cloud<'_>, String> {
        self.read(depth);
        let rays = self.rays.as_ref().ok_or("the depth camera is off")?;
        rays.cloud(&self.depth, &mut self.points).map_err(|cause| cause.to_string())?;
        self.colors.clear();
        if let (Some(registration), Some(rgb)) = (&mut self.registration, rgb) {
            let done = registration.color_into_depth(
                &self.depth,
                rgb.as_chunks::<3>().0,
                &mut self.colors,
            );
            done.map_err(|cause| cause.to_string())?;
        }
        Ok(Cloud { points: &self.points, colors: &self.colors })
    }

    /// A depth image as the color camera would take it: its size, and 16-bit millimetres.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn depth_in_color(
        &mut self,
        depth: &Image<'_>,
    ) -> std::result::Result<((u32, u32), Vec<u16>), String> {
        self.read(depth);
        let color = self.calibration.color.as_ref().ok_or("the color camera is off")?;
        let size = (color.width, color.height);
        let registration = self.registration.as_mut().ok_or("one of the cameras is off")?;
        let mut registered = Vec::new();
        let done = registration.depth_into_color(&self.depth, &mut registered);
        done.map(|()| (size, registered)).map_err(|cause| cause.to_string())
    }
}

impl Cloud<'_> {
    /// Whether its points have colors.
    pub fn is_colored(&self) -> bool {
        !self.colors.is_empty()
    }

    /// Points of the image, whether they are there or not.
    pub fn points_max(&self) -> usize {
        self.points.len()
    }

    /// Its points that are there, in metres; each with its color, black where it has none.
    pub fn points(&self) -> impl Iterator<Item = ([f32; 3], [u8; 3])> + '_ {
        let colors = self.colors.iter().copied().chain(std::iter::repeat([0; 3]));
        let points = self.points.iter().zip(colors).filter(|(point, _)| point[2] > 0.0);
        // A division by 1000 gives the nearest float; a factor of 0.001 would not.
        points.map(|(point, color)| (point.map(|mm| mm / 1000.0), color))
    }
}
