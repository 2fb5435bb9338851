//! Control requests that belong to the USB stack rather than to a camera.

use crate::device::Device;
use crate::pipe::Endpoint;
use crate::wire::{Submit, status};
use genlock_emulator::{Function, Request};

const TO_HOST: u8 = 0x80;

/// The setup packet of a control transfer.
fn request(submit: &Submit) -> (Request, usize) {
    let [kind, request, v0, v1, i0, i1, l0, l1] = submit.setup;
    let value = u16::from_le_bytes([v0, v1]);
    let index = u16::from_le_bytes([i0, i1]);
    let request = Request { kind, request, value, index };
    (request, usize::from(u16::from_le_bytes([l0, l1])))
}

/// Answers a control transfer whose data, if it brings any, are `data`; writes what the device
/// sends into `into`. Gives status and bytes.
pub(crate) fn answer(
    device: &Device,
    function: Function,
    endpoints: &mut [Endpoint],
    submit: &Submit,
    data: &[u8],
    into: &mut [u8],
) -> (i32, usize) {
    let (request, asked) = request(submit);
    if (request.kind & TO_HOST != 0) != submit.is_in() && asked > 0 {
        return (status::INVALID, 0);
    }
    if request.kind & TO_HOST != 0 {
        let room = asked.min(submit.bytes).min(into.len());
        let done = read(device, function, endpoints, request, &mut into[..room]);
        return done.map_or((status::STALL, 0), |bytes| (status::DONE, bytes));
    }
    let data = &data[..data.len().min(asked)];
    let done = write(device, function, endpoints, request, data);
    if done { (status::DONE, data.len()) } else { (status::STALL, 0) }
}

fn read(
    device: &Device,
    function: Function,
    endpoints: &[Endpoint],
    request: Request,
    into: &mut [u8],
) -> Option<usize> {
    let halted = match (request.kind, request.request) {
        // GET_STATUS of an interface, of an endpoint.
        (0x81, 0) => false,
        (0x82, 0) => {
            let addressed = |endpoint: &&Endpoint| of(endpoint, request);
            endpoints.iter().find(addressed).is_some_and(|endpoint| endpoint.halted)
        }
        _ => {
            let now_ns = device.now_ns();
            return device.kinect().control_in(function, request, into, now_ns).ok();
        }
    };
    let bytes = [u8::from(halted), 0];
    let count = bytes.len().min(into.len());
    into[..count].copy_from_slice(&bytes[..count]);
    Some(count)
}

fn of(endpoint: &Endpoint, request: Request) -> bool {
    u16::from(endpoint.pipe.address()) == request.index
}

fn write(
    device: &Device,
    function: Function,
    endpoints: &mut [Endpoint],
    request: Request,
    data: &[u8],
) -> bool {
    match (request.kind, request.request) {
        // CLEAR_FEATURE(ENDPOINT_HALT).
        (0x02, 1) if request.value == 0 => {
            let halted = endpoints.iter_mut().filter(|endpoint| of(endpoint, request));
            halted.for_each(|endpoint| endpoint.halted = false);
        }
        // SET_CONFIGURATION.
        (0x00, 9) => endpoints.iter_mut().for_each(Endpoint::reset),
        // Link power: SET_SEL and SET_ISOCH_DELAY; U1, U2 and latency messages on and off; an
        // interface may be suspended. All without an effect here.
        (0x00, 0x30 | 0x31) => return true,
        (0x00, 1 | 3) => return (48..=50).contains(&request.value),
        (0x01, 1 | 3) => return request.value == 0,
        _ => {}
    }
    let now_ns = device.now_ns();
    device.kinect().control_out(function, request, data, now_ns).is_ok()
}
