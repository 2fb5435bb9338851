//! Real USB through libusb: finding devices, opening them, asking them.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::usb::events::Events;
use crate::usb::flow::Flow;
use crate::usb::transfer::{Handle, fault};
use crate::usb::{
    Answer, Bus, Fault, PIECE_BYTES, Port, REQUEST_TIMEOUT, Request, Stream, StreamEndpoint,
    UsbDevice,
};
use rusb::{Context, Device, DeviceHandle, Speed, UsbContext};
use std::sync::{Arc, Weak};

const VENDOR: u16 = 0x045E;
const PRODUCTS: [u16; 2] = [0x097C, 0x097D];

/// The one configuration that both devices of a camera have (usb-protocol.md 1.4).
const CONFIGURATION: u8 = 1;

/// The USB of this machine.
///
/// Every look at it, and every opened device, has a context of libusb of its own: a fresh one sees
/// what was plugged in since, also where nothing tells of that, and one of its own gives each
/// device its own thread for completions.
pub struct HostBus {
    clock: Clock,
}

impl HostBus {
    /// Opens the machine's USB; transfers are stamped by `clock`.
    ///
    /// # Errors
    /// `Device` on a machine without USB.
    pub fn new(clock: Clock) -> Result<Self> {
        context()?;
        Ok(Self { clock })
    }
}

fn context() -> Result<Context> {
    // Never the library's global context: it panics where there is no USB.
    Context::new().map_err(|cause| {
        Error::Device(format!(
            "cannot use this machine's USB: {cause}; is there a /dev/bus/usb? To rehearse without \
             hardware, use --emulated 1"
        ))
    })
}

/// The devices of cameras that are plugged in.
fn cameras(context: &Context) -> Result<Vec<Device<Context>>> {
    let devices = context.devices();
    let devices =
        devices.map_err(|cause| Error::Device(format!("cannot list USB devices: {cause}")))?;
    let ours = |device: &Device<Context>| {
        device.device_descriptor().is_ok_and(|descriptor| {
            descriptor.vendor_id() == VENDOR && PRODUCTS.contains(&descriptor.product_id())
        })
    };
    Ok(devices.iter().filter(ours).collect())
}

/// That a device cannot be used, and what to do.
fn unusable(device: &Device<Context>, what: &str, cause: rusb::Error) -> Error {
    let fix = match cause {
        rusb::Error::Access => "; `genlock check` says how to allow it; or run as root",
        rusb::Error::NoDevice | rusb::Error::NotFound => "; check its cable and power",
        _ => "; plug it in again",
    };
    let (bus, address) = (device.bus_number(), device.address());
    Error::Device(format!("cannot {what} the USB device {bus}:{address}: {cause}{fix}"))
}

fn describe(device: &Device<Context>) -> rusb::Result<UsbDevice> {
    let descriptor = device.device_descriptor()?;
    let handle = device.open()?;
    Ok(UsbDevice {
        product: descriptor.product_id(),
        serial: handle.read_serial_number_string_ascii(&descriptor)?,
        bus: device.bus_number(),
        address: device.address(),
        ports: device.port_numbers().unwrap_or_default(),
        superspeed: matches!(device.speed(), Speed::Super | Speed::SuperPlus),
    })
}

impl Bus for HostBus {
    fn devices(&self) -> Result<Vec<UsbDevice>> {
        let mut found = Vec::new();
        for device in cameras(&context()?)? {
            match describe(&device) {
                Ok(described) => found.push(described),
                // It was unplugged just now.
                Err(rusb::Error::NoDevice | rusb::Error::NotFound) => {}
                Err(cause) => return Err(unusable(&device, "ask", cause)),
            }
        }
        Ok(found)
    }

    fn open(&self, wanted: &UsbDevice) -> Result<Box<dyn Port>> {
        let context = context()?;
        let here = |device: &Device<Context>| {
            device.bus_number() == wanted.bus && device.address() == wanted.address
        };
        let device = cameras(&context)?.into_iter().find(here).ok_or_else(|| {
            Error::Device(format!("{}: left the bus; check its cable and power", wanted.serial))
        })?;
        let port = HostPort::open(&device, self.clock.clone());
        Ok(Box::new(port.map_err(|cause| unusable(&device, "open", cause))?))
    }
}

struct HostPort {
    handle: Handle,
    configuration: Vec<u8>,
    clock: Clock,
    /// The thread for completions, while a stream needs it.
    events: Weak<Events>,
}

impl HostPort {
    fn open(device: &Device<Context>, clock: Clock) -> rusb::Result<Self> {
        let handle = device.open()?;
        // Interfaces that the kernel holds are taken over while we use them.
        let _ = handle.set_auto_detach_kernel_driver(true);
        if handle.active_configuration()? != CONFIGURATION {
            handle.set_active_configuration(CONFIGURATION)?;
        }
        let configuration = configuration(&handle)?;
        Ok(Self { handle: Arc::new(handle), configuration, clock, events: Weak::new() })
    }

    /// Ends the halt of an endpoint that stalled: the request failed, those after it need not.
    fn unhalt(&self, endpoint: u8, failed: Option<&rusb::Error>) {
        if failed == Some(&rusb::Error::Pipe) {
            // Where that fails too, the next request says so.
            let _ = self.handle.clear_halt(endpoint);
        }
    }

    /// The thread for completions, which all streams of the device share.
    fn events(&mut self) -> Answer<Arc<Events>> {
        if let Some(events) = self.events.upgrade() {
            return Ok(events);
        }
        let device = self.handle.device();
        let name = format!("usb {}:{}", device.bus_number(), device.address());
        let events = Arc::new(Events::start(self.handle.context(), &name)?);
        self.events = Arc::downgrade(&events);
        Ok(events)
    }
}

/// The configuration descriptor, with everything under it.
fn configuration(handle: &DeviceHandle<Context>) -> rusb::Result<Vec<u8>> {
    let read = |into: &mut [u8]| handle.read_control(0x80, 6, 0x0200, 0, into, REQUEST_TIMEOUT);
    let mut head = [0; 4];
    read(&mut head)?;
    let mut bytes = vec![0; usize::from(u16::from_le_bytes([head[2], head[3]]))];
    let count = read(&mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

impl Port for HostPort {
    fn configuration(&self) -> &[u8] {
        &self.configuration
    }

    fn claim(&mut self, interface: u8) -> Answer<()> {
        self.handle.claim_interface(interface).map_err(fault)
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Answer<()> {
        self.handle.set_alternate_setting(interface, alternate).map_err(fault)
    }

    fn control_in(&mut self, request: Request, into: &mut [u8]) -> Answer<usize> {
        let Request { kind, request, value, index } = request;
        let read = self.handle.read_control(kind, request, value, index, into, REQUEST_TIMEOUT);
        read.map_err(fault)
    }

    fn control_out(&mut self, request: Request, data: &[u8]) -> Answer<()> {
        let Request { kind, request, value, index } = request;
        let written = self.handle.write_control(kind, request, value, index, data, REQUEST_TIMEOUT);
        all_of(data, written)
    }

    fn bulk_out(&mut self, endpoint: u8, data: &[u8]) -> Answer<()> {
        let written = self.handle.write_bulk(endpoint, data, REQUEST_TIMEOUT);
        self.unhalt(endpoint, written.as_ref().err());
        all_of(data, written)
    }

    /// In pieces that every host controller driver has memory for; the device ends what it sends
    /// with a short one.
    fn bulk_in(&mut self, endpoint: u8, into: &mut [u8]) -> Answer<usize> {
        let mut bytes = 0;
        for piece in into.chunks_mut(PIECE_BYTES) {
            let read = self.handle.read_bulk(endpoint, piece, REQUEST_TIMEOUT);
            self.unhalt(endpoint, read.as_ref().err());
            let read = read.map_err(fault)?;
            bytes += read;
            if read < piece.len() {
                break;
            }
        }
        Ok(bytes)
    }

    fn stream(&mut self, endpoint: StreamEndpoint, pool: Pool) -> Answer<Box<dyn Stream>> {
        let events = self.events()?;
        Ok(Box::new(Flow::start(&self.handle, events, endpoint, pool, &self.clock)?))
    }
}

/// That all of `data` was written.
fn all_of(data: &[u8], written: rusb::Result<usize>) -> Answer<()> {
    match written.map_err(fault)? {
        count if count == data.len() => Ok(()),
        _ => Err(Fault::Io),
    }
}
