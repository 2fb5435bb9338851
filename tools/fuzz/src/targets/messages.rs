//! Messages of the network, as agents and coordinators get them.

use super::Target;
use crate::Outcome;
use crate::mutate::Form;
use genlock::hosts::control::Word;
use genlock::hosts::messages::{
    Answer, Ask, Order, PartStatus, Request, VERSION, answer_from_bytes, answer_to_bytes,
    from_bytes, to_bytes,
};
use genlock::hosts::name::{HostName, TakeId};
use genlock::hosts::order::Local;
use genlock_formats::take::File;

pub(super) const MESSAGES: Target = Target {
    name: "messages",
    about: "messages between coordinator, agent and recorder, read, and orders resolved",
    form: Form::Text,
    len_max: 4 << 10,
    memory: (1 << 20, 1024),
    seeds,
    run: messages,
};

const RIG: &str = "[emulator]\ndevices = 2\n\
                   [[host]]\nname = \"a\"\nendpoint = \"tcp/127.0.0.1:1\"\n\
                   [[device]]\nserial = \"000000000001\"\nrole = \"master\"\nhost = \"a\"\n\
                   [[device]]\nserial = \"000000000002\"\nrole = \"subordinate\"\nhost = \"a\"\n";

fn take() -> Option<TakeId> {
    TakeId::try_from("0001-x".to_owned()).ok()
}

fn seeds() -> Vec<Vec<u8>> {
    let Some(take) = take() else { return Vec::new() };
    let order = Order {
        take: take.clone(),
        rig: RIG.to_owned(),
        sets: vec!["rate=15".to_owned()],
        serial: None,
        first_trigger: 30,
        triggers: Some(15),
        force: false,
    };
    let asks = [
        Ask::List(None),
        Ask::Check(Box::new(order.clone())),
        Ask::Arm(Box::new(order)),
        Ask::Start(take.clone()),
        Ask::Stop(take.clone(), Some(90)),
        Ask::Read(take.clone(), 1, 1 << 20),
        Ask::Release(take, vec![File::of("000000000001.mkv", b"x")]),
    ];
    let request = |ask| to_bytes(&Request { version: VERSION, from: "me".to_owned(), ask });
    let mut seeds: Vec<_> = asks.into_iter().map(request).collect();
    seeds.push(to_bytes(&PartStatus::default()));
    seeds.push(to_bytes(&Word::Stop(Some(7))));
    seeds.push(answer_to_bytes(&Answer::Later("it is at work".to_owned()), b"data"));
    seeds
}

fn messages(input: &[u8], outcome: &mut Outcome) {
    if let Ok((answer, data)) = answer_from_bytes(input) {
        let again = answer_to_bytes(&answer, data);
        assert_eq!(answer_from_bytes(&again), Ok((answer, data)), "it reads as it was written");
        return outcome.size(data.len() as u64);
    }
    if from_bytes::<PartStatus>(input).is_ok() || from_bytes::<Word>(input).is_ok() {
        return outcome.kind(1);
    }
    let request: Request = match from_bytes(input) {
        Ok(request) => request,
        Err(why) => return outcome.words(&why),
    };
    assert_eq!(from_bytes(&to_bytes(&request)), Ok(request.clone()), "it reads as it was written");
    outcome.kind(2);
    if let Ask::Arm(order) | Ask::Check(order) | Ask::List(Some(order)) = request.ask {
        resolve(&order, outcome);
    }
}

/// What an order means on a host, whose folder no name leads out of.
fn resolve(order: &Order, outcome: &mut Outcome) {
    let Ok(name) = HostName::try_from("a".to_owned()) else { return };
    let local =
        Local { name, store: "/store".into(), depth_engine: None, cable: None, lease_s: 60 };
    let folder = local.folder(order);
    assert_eq!(folder.parent(), Some("/store".as_ref()), "{}", folder.display());
    match local.plan(order) {
        Ok(plan) => assert!(plan.is_part && plan.depth_engine.is_none()),
        Err(error) => outcome.words(&error.to_string()),
    }
}
