//! A camera whose answers are an input's messages, whatever it is asked.

use crate::script::{self, messages};
use genlock::clock::Clock;
use genlock::config::ColorControls;
use genlock::device::{self, Device};
use genlock::pool::Pool;
use genlock::usb::emulated::EmulatedBus;
use genlock::usb::{Answer, Bus, Fault, Port, Request, Stream, StreamEndpoint, UsbDevice};
use genlock_emulator::Faults;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// First bytes of an answer: what the rest is. Anything else is a fault.
const DATA: u8 = 0;
/// The status of a response, and what may follow it.
const RESPONSE: u8 = 1;

/// First bytes of a response on the wire (usb-protocol.md 2.2).
const RESPONSE_ON_WIRE: [u8; 4] = [0x00, 0xE0, 0x6F, 0x0A];

/// Answers in their order, whoever asks.
type Answers = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// One USB device that answers as an input says.
pub struct ScriptedPort {
    configuration: Vec<u8>,
    answers: Answers,
    transaction: [u8; 4],
}

impl ScriptedPort {
    /// The first of `messages` is its configuration, the others are what it answers.
    pub fn new<'a>(mut messages: impl Iterator<Item = &'a [u8]>) -> Self {
        let configuration = messages.next().unwrap_or_default().to_vec();
        let answers = messages.map(<[u8]>::to_vec).collect();
        Self { configuration, answers: Arc::new(Mutex::new(answers)), transaction: [0; 4] }
    }

    fn answer(&mut self, into: &mut [u8]) -> Answer<usize> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.pop_front().ok_or(Fault::Timeout)?;
        let Some((kind, rest)) = answer.split_first() else { return Ok(0) };
        let bytes = match *kind {
            DATA => rest.to_vec(),
            RESPONSE => {
                let mut response = [RESPONSE_ON_WIRE, self.transaction].concat();
                response.extend(rest.iter().copied().chain([0; 8]).take(8));
                response
            }
            2 => return Err(Fault::Stall),
            3 => return Err(Fault::Gone),
            4 => return Err(Fault::Overflow),
            _ => return Err(Fault::Io),
        };
        into.get_mut(..bytes.len()).ok_or(Fault::Overflow)?.copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Port for ScriptedPort {
    fn configuration(&self) -> &[u8] {
        &self.configuration
    }
    fn claim(&mut self, _: u8) -> Answer<()> {
        Ok(())
    }
    fn set_alternate(&mut self, _: u8, _: u8) -> Answer<()> {
        Ok(())
    }
    fn control_in(&mut self, _: Request, into: &mut [u8]) -> Answer<usize> {
        self.answer(into)
    }
    fn control_out(&mut self, _: Request, _: &[u8]) -> Answer<()> {
        Ok(())
    }
    fn bulk_out(&mut self, _: u8, data: &[u8]) -> Answer<()> {
        if let Some(transaction) = data.get(4..8) {
            self.transaction.copy_from_slice(transaction);
        }
        Ok(())
    }
    fn bulk_in(&mut self, _: u8, into: &mut [u8]) -> Answer<usize> {
        self.answer(into)
    }
    fn stream(&mut self, _: StreamEndpoint, _: Pool) -> Answer<Box<dyn Stream>> {
        Err(Fault::Io)
    }
}

/// A bus with the camera that an input is.
pub struct ScriptedBus(Answers);

impl ScriptedBus {
    /// The camera's two halves answer from one list.
    pub fn new(input: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(messages(input).map(<[u8]>::to_vec).collect())))
    }
}

impl Bus for ScriptedBus {
    fn devices(&self) -> genlock::Result<Vec<UsbDevice>> {
        // Made once: an emulated camera takes longer to make than an answer to read.
        static DEVICES: OnceLock<Vec<UsbDevice>> = OnceLock::new();
        Ok(DEVICES.get_or_init(|| emulated().devices().unwrap_or_default()).clone())
    }
    fn open(&self, _: &UsbDevice) -> genlock::Result<Box<dyn Port>> {
        // Nobody asks for the configuration of a device that does not stream.
        let (configuration, answers) = (Vec::new(), Arc::clone(&self.0));
        Ok(Box::new(ScriptedPort { configuration, answers, transaction: [0; 4] }))
    }
}

fn emulated() -> EmulatedBus {
    EmulatedBus::rig(&[Faults::default()], None, Clock::simulated())
}

/// The answers that the emulated camera gives while it is opened and asked.
pub fn answers_of_the_emulator() -> Vec<u8> {
    let heard = Answers::default();
    let bus = Overheard { bus: emulated(), heard: Arc::clone(&heard) };
    let opened = device::find(&bus).and_then(|found| Device::open(&bus, &found[0]));
    if let Ok(mut device) = opened {
        let _ = device.jacks();
        if let Ok(controls) = device.read_controls() {
            let _ = device.set_controls(&ColorControls { gain: Some(10), ..controls });
        }
    }
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    script::of(heard.iter().map(Vec::as_slice))
}

/// A bus whose answers are kept.
struct Overheard<B> {
    bus: B,
    heard: Answers,
}

impl Bus for Overheard<EmulatedBus> {
    fn devices(&self) -> genlock::Result<Vec<UsbDevice>> {
        self.bus.devices()
    }
    fn open(&self, device: &UsbDevice) -> genlock::Result<Box<dyn Port>> {
        Ok(Box::new(Overheard { bus: self.bus.open(device)?, heard: Arc::clone(&self.heard) }))
    }
}

impl Overheard<Box<dyn Port>> {
    fn keep(&self, answer: Answer<usize>, bytes: &[u8]) -> Answer<usize> {
        let kept = match answer {
            Ok(count) => match bytes[..count].strip_prefix(&RESPONSE_ON_WIRE) {
                Some(response) if count == 16 => [&[RESPONSE], &response[4..]].concat(),
                _ => [&[DATA], &bytes[..count]].concat(),
            },
            Err(Fault::Stall) => vec![2],
            Err(_) => vec![5],
        };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push_back(kept);
        answer
    }
}

impl Port for Overheard<Box<dyn Port>> {
    fn configuration(&self) -> &[u8] {
        self.bus.configuration()
    }
    fn claim(&mut self, interface: u8) -> Answer<()> {
        self.bus.claim(interface)
    }
    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Answer<()> {
        self.bus.set_alternate(interface, alternate)
    }
    fn control_in(&mut self, request: Request, into: &mut [u8]) -> Answer<usize> {
        let answer = self.bus.control_in(request, into);
        self.keep(answer, into)
    }
    fn control_out(&mut self, request: Request, data: &[u8]) -> Answer<()> {
        self.bus.control_out(request, data)
    }
    fn bulk_out(&mut self, endpoint: u8, data: &[u8]) -> Answer<()> {
        self.bus.bulk_out(endpoint, data)
    }
    fn bulk_in(&mut self, endpoint: u8, into: &mut [u8]) -> Answer<usize> {
        let answer = self.bus.bulk_in(endpoint, into);
        self.keep(answer, into)
    }
    fn stream(&mut self, endpoint: StreamEndpoint, pool: Pool) -> Answer<Box<dyn Stream>> {
        self.bus.stream(endpoint, pool)
    }
}
