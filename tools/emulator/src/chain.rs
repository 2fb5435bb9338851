//! Cameras in a chain of sync cables.

use crate::cable::Cable;
use crate::faults::Faults;
use crate::film::Film;
use crate::kinect::Setup;
use crate::playback::Playback;
use crate::view::View;
use std::sync::Arc;

/// Emulated devices at most: more would only fill memory.
pub const EMULATED_MAX: usize = 32;

/// The serial number of the emulated device at a place in the chain, counted from 0. The first has
/// that of the device whose recording they play, if a device can have it; no two have the same.
#[must_use]
pub fn emulated_serial(place: usize, recorded: Option<&str>) -> String {
    // A serial is printable ASCII (usb-protocol.md 3.3), and a USB string is short.
    let fits = |serial: &&str| {
        (1..=64).contains(&serial.len()) && serial.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let recorded = recorded.filter(fits);
    let own = format!("{:012}", place + 1);
    match recorded {
        Some(recorded) if place == 0 => recorded.to_owned(),
        // The number that no place has.
        Some(recorded) if recorded == own => format!("{:012}", EMULATED_MAX + 1),
        _ => own,
    }
}

/// Cameras in a chain of sync cables, one for each entry of `faults`, the first being the master;
/// one alone has no cable. They see a scene each, or all of them the recording, whose serial the
/// first then has.
#[must_use]
pub fn chain(faults: &[Faults], recording: Option<&Arc<Playback>>) -> Vec<Setup> {
    let everywhere: Vec<_> = (0..faults.len()).collect();
    chain_part(faults, &everywhere, &Cable::default(), recording)
}

/// Of such a chain the cameras at the places `here`, counted from 0, each as it is in the whole
/// chain. The others hang on the same cable elsewhere.
#[must_use]
pub fn chain_part(
    faults: &[Faults],
    here: &[usize],
    cable: &Cable,
    recording: Option<&Arc<Playback>>,
) -> Vec<Setup> {
    let setup = |place: usize| {
        let recorded = recording.and_then(|playback| playback.serial.as_deref());
        let mut setup = Setup::new(&emulated_serial(place, recorded), place as u64 + 1);
        if let Some(playback) = recording {
            setup.view = View::film(Arc::clone(playback) as Arc<dyn Film>, &setup.serial);
        }
        setup
    };
    linked(faults, here, cable, setup)
}

/// The whole chain, where each camera has a serial and a film of its own.
#[must_use]
pub fn chain_of_films(faults: &[Faults], films: &[(String, Arc<dyn Film>)]) -> Vec<Setup> {
    let setup = |place: usize| {
        let (serial, film) = &films[place];
        let mut setup = Setup::new(serial, place as u64 + 1);
        setup.view = View::film(Arc::clone(film), serial);
        setup
    };
    let faults = &faults[..faults.len().min(films.len())];
    let everywhere: Vec<_> = (0..faults.len()).collect();
    linked(faults, &everywhere, &Cable::default(), setup)
}

fn linked(
    faults: &[Faults],
    here: &[usize],
    cable: &Cable,
    setup: impl Fn(usize) -> Setup,
) -> Vec<Setup> {
    let count = faults.len();
    let linked = |(place, faults): (usize, &Faults)| {
        let mut setup = setup(place);
        setup.sync_in = (place > 0).then(|| cable.clone());
        setup.sync_out = (place + 1 < count).then(|| cable.clone());
        setup.faults = faults.clone();
        setup
    };
    let places = here.iter().filter_map(|place| Some((*place, faults.get(*place)?)));
    places.map(linked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_emulated_devices_have_the_same_serial() {
        let chain = |recorded| [0, 1, 2].map(|place| emulated_serial(place, recorded));
        assert_eq!(chain(None), ["000000000001", "000000000002", "000000000003"]);
        assert_eq!(chain(Some("000123")), ["000123", "000000000002", "000000000003"]);
        let renamed = ["000000000002", "000000000033", "000000000003"];
        assert_eq!(chain(Some("000000000002")), renamed);
        let long = "1".repeat(65);
        for none in ["", "\u{1b}[2J", "zw\u{f6}lf", "a b", &long] {
            assert_eq!(chain(Some(none)), chain(None), "{none:?}");
        }
    }

    #[test]
    fn a_part_of_a_chain_has_the_jacks_and_serials_of_the_whole() {
        let faults = vec![Faults::default(); 4];
        let part = |here: &[usize]| {
            let part = chain_part(&faults, here, &Cable::default(), None);
            let known = |s: Setup| (s.serial, s.seed, s.sync_in.is_some(), s.sync_out.is_some());
            part.into_iter().map(known).collect::<Vec<_>>()
        };
        let whole = part(&[0, 1, 2, 3]);
        assert_eq!([part(&[3, 0]), part(&[2, 1, 4])].concat(), {
            let at = |place: usize| whole[place].clone();
            [at(3), at(0), at(2), at(1)]
        });
        let jacks: Vec<_> = whole.iter().map(|known| (known.2, known.3)).collect();
        assert_eq!(jacks, [(false, true), (true, true), (true, true), (true, false)]);
    }
}
