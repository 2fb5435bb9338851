//! Sessions between hosts: who can speak to an agent, and what becomes of it when one end is gone.
#![cfg(feature = "hosts")]

mod hosts_link_support;

use genlock::hosts::link::{
    ANSWER_BYTES_MAX, Identity, Link, QUESTION_BYTES_MAX, Silence, ask, is_alive, open_agent,
    open_coordinator, serve,
};
use hosts_link_support::{
    Cable, PATIENCE, Party, Welcome, echo, endpoint, free_port, is_answered, knock, lab, name,
    stranger, until,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn until_it_is_there(link: &Link) {
    until("host b is there", || is_alive(link, &name("b"), PATIENCE));
}

#[test]
fn an_agent_of_this_machine_answers() {
    let at = endpoint("tcp/127.0.0.1", free_port());
    let agent = open_agent(&name("b"), &at, None).expect("a session");
    let serving = serve(&agent, &name("b"), echo).expect("an agent");
    let link = open_coordinator(&name("b"), &at, None).expect("a session");
    until_it_is_there(&link);
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Ok(b"cba".to_vec()));
    assert_eq!(ask(&link, &name("c"), b"abc", PATIENCE), Err(Silence::Unreachable));
    drop(serving);
    until("it is gone", || !is_alive(&link, &name("b"), PATIENCE));
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Err(Silence::Unreachable));
}

#[test]
fn agents_of_other_machines_answer_who_shows_the_coordinators_certificate() {
    let (_folder, out) = lab(&["a", "b"]);
    let a = Party::new(&out, "a", "tls/127.0.0.2");
    let b = Party::new(&out, "b", "tls/[::1]");
    // The coordinator's own machine records too.
    let near = endpoint("tcp/127.0.0.1", free_port());
    let agent = open_agent(&name("c"), &near, None).expect("a session");
    let c = serve(&agent, &name("c"), echo).expect("an agent");
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let hosts = [("a", &a.at), ("b", &b.at), ("c", &near)];
    let links = hosts.map(|(host, at)| {
        let link = open_coordinator(&name(host), at, Some(&own)).expect("a session");
        until(host, || is_alive(&link, &name(host), PATIENCE));
        assert_eq!(ask(&link, &name(host), b"abc", PATIENCE), Ok(b"cba".to_vec()), "{host}");
        link
    });
    let many = |size: usize| {
        let question = vec![7; size];
        for number in 0..1_000 {
            let answer = ask(&links[0], &name("a"), &question, PATIENCE);
            assert!(answer.as_ref() == Ok(&question), "question {number} of {size} bytes");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| many(100));
        scope.spawn(|| many(50_000));
    });
    drop((a, c));
    for (link, host) in links.iter().zip(["a", "b", "c"]) {
        until(host, || is_alive(link, &name(host), PATIENCE) == (host == "b"));
    }
}

#[test]
fn an_agent_is_reached_by_the_name_of_its_machine() {
    let (_folder, out) = lab(&["b"]);
    let b = Party::new(&out, "b", "tls/localhost");
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let link = open_coordinator(&name("b"), &b.at, Some(&own)).expect("a session");
    until_it_is_there(&link);
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Ok(b"cba".to_vec()));
}

#[test]
fn strangers_get_nothing() {
    let (folder, out) = lab(&["b", "c"]);
    let b = Party::new(&out, "b", "tls/127.0.0.1");
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let link = open_coordinator(&name("b"), &b.at, Some(&own)).expect("a session");
    let (_other_folder, other) = lab(&["b"]);
    let ca = out.join("ca.pem");
    let both = hosts_link_support::certificate_for_both(&out, folder.path(), "c");

    assert_eq!(knock(&b.at, &ca, Some(&out.join("coordinator"))), Welcome::Open);
    // What they show is refused before anything is said.
    for shown in [None, Some(other.join("coordinator")), Some(out.join("c"))] {
        assert_eq!(knock(&b.at, &ca, shown.as_deref()), Welcome::Refused, "{shown:?}");
    }
    // Another host with the rights of a coordinator, and Zenoh itself, in the clear.
    assert_eq!(knock(&b.at, &ca, Some(&both)), Welcome::Closed);
    let session = stranger(&b.at.to_string().replace("tls/", "tcp/"));
    assert!(!is_answered(&session, Duration::from_secs(1)));
    let mut plain = TcpStream::connect(("127.0.0.1", b.port)).expect("a port");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a socket");
    let mut said = Vec::new();
    // Reset, or an alert of TLS and the end.
    let _ = plain.read_to_end(&mut said);
    assert!(said.len() < 16, "{said:?}");

    until_it_is_there(&link);
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Ok(b"cba".to_vec()));
    assert_eq!(b.asked.load(Ordering::Relaxed), 1, "nobody else was heard");
}

#[test]
fn who_says_nothing_is_shown_out() {
    let (_folder, out) = lab(&["b"]);
    let b = Party::new(&out, "b", "tls/127.0.0.1");
    let come = |_| TcpStream::connect(("127.0.0.1", b.port)).expect("a port");
    let mute: Vec<_> = (0..40).map(come).collect();
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let link = open_coordinator(&name("b"), &b.at, Some(&own)).expect("a session");
    until_it_is_there(&link);
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Ok(b"cba".to_vec()));
    for mut stream in mute {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // Reset, or the end.
        let said = stream.read(&mut [0]);
        assert!(said.is_ok_and(|said| said == 0), "it was told something");
    }
}

#[test]
fn a_host_does_not_speak_for_another() {
    let (_folder, out) = lab(&["b", "c"]);
    let at = endpoint("tls/127.0.0.1", free_port());
    // Host c listens where b should be, and says that it is b.
    let identity = Identity::open(&out.join("c")).expect("an identity");
    let impostor = open_agent(&name("c"), &at, Some(&identity)).expect("a session");
    let _serving = serve(&impostor, &name("b"), echo).expect("an agent");
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let link = open_coordinator(&name("b"), &at, Some(&own)).expect("a session");
    until("it is seen", || {
        link.trouble().is_some_and(|said| said.contains("is of \"c\", not of \"b\""))
    });
    assert!(!is_alive(&link, &name("b"), Duration::from_secs(1)));
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Err(Silence::Unreachable));
}

#[test]
fn a_host_of_another_authority_is_not_believed() {
    let (_folder, out) = lab(&["b"]);
    let (_other_folder, other) = lab(&["b"]);
    let b = Party::new(&other, "b", "tls/127.0.0.1");
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let link = open_coordinator(&name("b"), &b.at, Some(&own)).expect("a session");
    until("it is seen", || link.trouble().is_some_and(|said| said.contains("UnknownIssuer")));
    assert!(!is_alive(&link, &name("b"), Duration::from_secs(1)));
}

#[test]
fn messages_are_bounded() {
    let at = endpoint("tcp/127.0.0.1", free_port());
    let agent = open_agent(&name("b"), &at, None).expect("a session");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let answer = move |question: &[u8]| {
        counted.fetch_add(1, Ordering::Relaxed);
        vec![0; if question.is_empty() { ANSWER_BYTES_MAX + 1 } else { ANSWER_BYTES_MAX }]
    };
    let _serving = serve(&agent, &name("b"), answer).expect("an agent");
    let link = open_coordinator(&name("b"), &at, None).expect("a session");
    let b = name("b");
    until_it_is_there(&link);

    let refused = ask(&link, &b, &vec![0; QUESTION_BYTES_MAX + 1], PATIENCE);
    let said = "a question of 1048577 bytes is not read: 1048576 at most".to_owned();
    assert_eq!(refused, Err(Silence::Refused(said)));
    let silent = ask(&link, &b, &vec![0; 5 << 20], Duration::from_millis(500));
    silent.expect_err("an answer to five megabytes");
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    until("it is heard as before", || {
        let answer = ask(&link, &b, &vec![0; QUESTION_BYTES_MAX], PATIENCE);
        answer.is_ok_and(|answer| answer.len() == ANSWER_BYTES_MAX)
    });
    let refused = ask(&link, &b, b"", PATIENCE).expect_err("an answer without end");
    assert!(refused.to_string().contains("ask for less"), "{refused}");
}

#[test]
fn one_question_is_answered_at_a_time_and_few_wait() {
    let at = endpoint("tcp/127.0.0.1", free_port());
    let agent = open_agent(&name("b"), &at, None).expect("a session");
    let (go, gate) = crossbeam::channel::unbounded::<()>();
    let answer = move |question: &[u8]| {
        gate.recv().expect("a gate");
        assert_ne!(question, b"bad", "this question ends badly");
        question.to_vec()
    };
    let _serving = serve(&agent, &name("b"), answer).expect("an agent");
    let link = open_coordinator(&name("b"), &at, None).expect("a session");
    let b = name("b");
    until_it_is_there(&link);
    std::thread::scope(|scope| {
        let ask = || ask(&link, &name("b"), b"abc", PATIENCE);
        let asking: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        // One is being answered, sixteen wait.
        let done = || asking.iter().filter(|thread| thread.is_finished()).count();
        until("the others are refused", || done() >= 40 - 17);
        for _ in 0..17 {
            go.send(()).expect("a gate");
        }
        let answers: Vec<_> =
            asking.into_iter().map(|thread| thread.join().expect("an answer")).collect();
        let answered = answers.iter().filter(|answer| **answer == Ok(b"abc".to_vec())).count();
        assert!((16..=17).contains(&answered), "{answered}");
        for silence in answers.into_iter().filter_map(Result::err) {
            assert!(silence.to_string().contains("busy"), "{silence}");
        }
    });
    for _ in 0..3 {
        go.send(()).expect("a gate");
    }
    let failed = ask(&link, &b, b"bad", PATIENCE).expect_err("an answer");
    assert!(failed.to_string().contains("failed within its agent"), "{failed}");
    assert_eq!(ask(&link, &b, b"abc", PATIENCE), Ok(b"abc".to_vec()));
}

#[test]
fn an_agent_that_comes_back_is_found_again() {
    let (_folder, out) = lab(&["b"]);
    let own = Identity::open(&out.join("coordinator")).expect("an identity");
    let mut b = Party::new(&out, "b", "tls/127.0.0.1");
    let cable = Cable::to(b.port);
    let at = endpoint("tls/127.0.0.1", cable.port);
    let link = open_coordinator(&name("b"), &at, Some(&own)).expect("a session");
    let here = |here: bool| {
        until(if here { "it is here" } else { "it is gone" }, || {
            is_alive(&link, &name("b"), Duration::from_millis(500)) == here
        });
    };
    let answers = || {
        let answer = ask(&link, &name("b"), b"abc", PATIENCE);
        assert_eq!(answer, Ok(b"cba".to_vec()));
    };
    here(true);
    answers();

    // Its process ends, and another is started at the same place.
    drop(b);
    here(false);
    assert_eq!(ask(&link, &name("b"), b"abc", PATIENCE), Err(Silence::Unreachable));
    b = Party::new_at(&out, "b", endpoint("tls/127.0.0.1", cable.beyond));
    here(true);
    answers();

    // Nothing passes any more, and nobody says so.
    cable.freeze(true);
    let silent = ask(&link, &name("b"), b"abc", Duration::from_millis(100));
    assert_eq!(silent, Err(Silence::Timeout(Duration::from_millis(100))));
    here(false);
    cable.freeze(false);
    here(true);
    answers();

    // The same, while there is more to say than the network takes.
    cable.freeze(true);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let question = vec![0; QUESTION_BYTES_MAX];
                ask(&link, &name("b"), &question, PATIENCE).expect_err("an answer");
            });
        }
    });
    here(false);
    cable.freeze(false);
    here(true);
    answers();
    drop(b);
}

#[test]
fn beyond_this_machine_certificates_are_needed() {
    let (_folder, out) = lab(&["b"]);
    let own = Identity::open(&out.join("b")).expect("an identity");
    for given in [None, Some(&own)] {
        for far in ["tcp/10.0.0.2:7447", "tcp/0.0.0.0:7447", "tcp/[::]:7447", "tcp/lan:7447"] {
            let at = far.parse().expect("an endpoint");
            let agent = open_agent(&name("b"), &at, given).expect_err("an open door");
            let caller = open_coordinator(&name("b"), &at, given).expect_err("an open line");
            for said in [agent.to_string(), caller.to_string()] {
                assert!(said.contains(far) && said.contains("genlock agent certs"), "{said}");
                assert!(said.contains("use tls/"), "{said}");
            }
        }
    }
    let at = endpoint("tls/127.0.0.1", free_port());
    let agent = open_agent(&name("b"), &at, None).expect_err("no certificate");
    let caller = open_coordinator(&name("b"), &at, None).expect_err("no certificate");
    for said in [agent.to_string(), caller.to_string()] {
        assert!(said.contains("needs certificates"), "{said}");
    }
    let other = open_agent(&name("c"), &at, Some(&own)).expect_err("a certificate of b");
    assert!(other.to_string().contains("is of \"b\", not of \"c\""), "{other}");
    let caller = open_coordinator(&name("b"), &at, Some(&own)).expect_err("that of a host");
    assert!(caller.to_string().contains("not of \"coordinator\""), "{caller}");
}

#[test]
fn a_place_that_is_taken_is_told() {
    let at = endpoint("tcp/127.0.0.1", free_port());
    let _first = open_agent(&name("b"), &at, None).expect("a session");
    let second = open_agent(&name("b"), &at, None).expect_err("two at one place");
    let said = second.to_string();
    assert!(said.contains(&at.to_string()) && said.contains("no other agent"), "{said}");
}
