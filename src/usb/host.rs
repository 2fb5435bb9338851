//! Real USB through libusb: finding devices and asking them. Streaming needs asynchronous
//! transfers, which this version does not have yet.

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::usb::{
    Answer, Bus, Fault, Port, REQUEST_TIMEOUT, Request, Stream, StreamEndpoint, UsbDevice,
};
use rusb::{Context, Device, DeviceHandle, Speed, UsbContext};

const VENDOR: u16 = 0x045E;
const PRODUCTS: [u16; 2] = [0x097C, 0x097D];

/// The USB of this machine.
pub struct HostBus {
    context: Context,
}

impl HostBus {
    /// Opens the machine's USB.
    ///
    /// # Errors
    /// `Device` on a machine without USB.
    pub fn new() -> Result<Self> {
        // Never the library's global context: it panics where there is no USB.
        let context = Context::new().map_err(|cause| {
            Error::Device(format!(
                "cannot use this machine's USB: {cause}; is there a /dev/bus/usb? To rehearse \
                 without hardware, use --emulated 1"
            ))
        })?;
        Ok(Self { context })
    }

    fn all(&self) -> Result<Vec<Device<Context>>> {
        let devices = self.context.devices();
        let devices =
            devices.map_err(|cause| Error::Device(format!("cannot list USB devices: {cause}")))?;
        let ours = |device: &Device<Context>| {
            device.device_descriptor().is_ok_and(|descriptor| {
                descriptor.vendor_id() == VENDOR && PRODUCTS.contains(&descriptor.product_id())
            })
        };
        Ok(devices.iter().filter(ours).collect())
    }
}

fn open(device: &Device<Context>) -> Result<DeviceHandle<Context>> {
    device.open().map_err(|cause| {
        let (bus, address) = (device.bus_number(), device.address());
        let fix = match cause {
            rusb::Error::Access => "; allow it with a udev rule for vendor 045e, or run as root",
            _ => "",
        };
        Error::Device(format!("cannot open the USB device {bus}:{address}: {cause}{fix}"))
    })
}

impl Bus for HostBus {
    fn devices(&self) -> Result<Vec<UsbDevice>> {
        let mut found = Vec::new();
        for device in self.all()? {
            let describe = |cause| Error::Device(format!("cannot read a USB device: {cause}"));
            let descriptor = device.device_descriptor().map_err(describe)?;
            let handle = open(&device)?;
            found.push(UsbDevice {
                product: descriptor.product_id(),
                serial: handle.read_serial_number_string_ascii(&descriptor).map_err(describe)?,
                bus: device.bus_number(),
                address: device.address(),
                ports: device.port_numbers().unwrap_or_default(),
                superspeed: matches!(device.speed(), Speed::Super | Speed::SuperPlus),
            });
        }
        Ok(found)
    }

    fn open(&self, wanted: &UsbDevice) -> Result<Box<dyn Port>> {
        let here = |device: &Device<Context>| {
            device.bus_number() == wanted.bus && device.address() == wanted.address
        };
        let device = self.all()?.into_iter().find(here).ok_or_else(|| {
            Error::Device(format!("{}: left the bus; check its cable and power", wanted.serial))
        })?;
        let handle = open(&device)?;
        // Interfaces that the kernel holds are taken over while we use them.
        let _ = handle.set_auto_detach_kernel_driver(true);
        let mut port = HostPort { handle, configuration: Vec::new() };
        port.configuration = port.descriptor(0x0200).map_err(|fault| {
            Error::Device(format!("{}: cannot read its descriptors ({fault:?})", wanted.serial))
        })?;
        Ok(Box::new(port))
    }

    fn can_stream(&self) -> bool {
        false
    }
}

struct HostPort {
    handle: DeviceHandle<Context>,
    configuration: Vec<u8>,
}

fn fault(cause: rusb::Error) -> Fault {
    match cause {
        rusb::Error::Pipe => Fault::Stall,
        rusb::Error::Timeout => Fault::Timeout,
        rusb::Error::NoDevice => Fault::Gone,
        rusb::Error::Overflow => Fault::Overflow,
        _ => Fault::Io,
    }
}

impl HostPort {
    /// A descriptor that says its whole length in its third and fourth byte.
    fn descriptor(&mut self, value: u16) -> Answer<Vec<u8>> {
        let request = Request { kind: 0x80, request: 6, value, index: 0 };
        let mut head = [0; 4];
        self.control_in(request, &mut head)?;
        let mut bytes = vec![0; usize::from(u16::from_le_bytes([head[2], head[3]]))];
        let count = self.control_in(request, &mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }
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
        match written {
            Ok(count) if count == data.len() => Ok(()),
            Ok(_) => Err(Fault::Io),
            Err(cause) => Err(fault(cause)),
        }
    }

    fn bulk_out(&mut self, endpoint: u8, data: &[u8]) -> Answer<()> {
        match self.handle.write_bulk(endpoint, data, REQUEST_TIMEOUT) {
            Ok(count) if count == data.len() => Ok(()),
            Ok(_) => Err(Fault::Io),
            Err(cause) => Err(fault(cause)),
        }
    }

    fn bulk_in(&mut self, endpoint: u8, into: &mut [u8]) -> Answer<usize> {
        self.handle.read_bulk(endpoint, into, REQUEST_TIMEOUT).map_err(fault)
    }

    fn stream(&mut self, _endpoint: StreamEndpoint, _pool: Pool) -> Answer<Box<dyn Stream>> {
        // `Bus::can_stream` says so beforehand.
        Err(Fault::Io)
    }
}
