//! The network of these tests does what they rely on.

use crate::network::{Network, until};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Answers each line with itself, to one who calls.
const SERVER: &str = "
import socket, sys
server = socket.create_server(('0.0.0.0', 7000))
print('ready', flush=True)
caller, _ = server.accept()
while True:
    data = caller.recv(65536)
    if not data:
        break
    caller.sendall(data)
";

/// Sends its lines to the address given, and prints what comes back.
const CLIENT: &str = "
import socket, sys, threading
server = socket.create_connection((sys.argv[1], 7000), timeout=60)
server.settimeout(None)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print('ready', flush=True)
def listen():
    for line in server.makefile():
        print(line, end='', flush=True)
threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    server.sendall(line.encode())
";

/// A program on a machine, and the lines that it says.
struct Talker {
    child: Child,
    input: ChildStdin,
    said: Receiver<String>,
}

impl Talker {
    fn start(network: &Network, machine: &str, script: &str, argument: &str) -> Self {
        let mut command = network.command(machine, "python3");
        command.args(["-c", script, argument]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is part of every machine");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let (say, said) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(say.send(line)));
        });
        let talker = Self { child, input: input.expect("a pipe"), said };
        assert_eq!(talker.hear(Duration::from_secs(60)).as_deref(), Ok("ready"));
        talker
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    fn hear(&self, wait: Duration) -> Result<String, RecvTimeoutError> {
        self.said.recv_timeout(wait)
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_machine_that_is_cut_off_hears_nothing_until_it_is_back() {
    let Some(network) = Network::of(&["a", "b"]) else { return };
    let _server = Talker::start(&network, "a", SERVER, "");
    let mut client = Talker::start(&network, "b", CLIENT, &network.address("a"));
    client.say("one");
    assert_eq!(client.hear(LONG).as_deref(), Ok("one"));
    network.cut("a");
    client.say("two");
    let silence = client.hear(Duration::from_secs(1));
    assert_eq!(silence, Err(RecvTimeoutError::Timeout), "silence, and no reset");
    let mut links = network.command("a", "ip");
    let links = links.args(["-o", "link", "show", "eth0"]).output().expect("ip");
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    assert!(links.contains("LOWER_UP"), "its own interface stays up: {links}");
    network.heal("a");
    assert_eq!(client.hear(LONG).as_deref(), Ok("two"), "what was sent meanwhile comes");
}

#[test]
fn a_poor_link_is_slow_and_loses_packets() {
    let Some(mut network) = Network::of(&["a", "b"]) else { return };
    network.worsen("a", Duration::from_millis(200), 0.05, 1);
    let _server = Talker::start(&network, "a", SERVER, "");
    let mut client = Talker::start(&network, "b", CLIENT, &network.address("a"));
    for number in 0..10 {
        let (sent, line) = (Instant::now(), format!("line {number}"));
        client.say(&line);
        assert_eq!(client.hear(LONG), Ok(line));
        assert!(sent.elapsed() >= Duration::from_millis(400), "{:?}", sent.elapsed());
    }
    // What is lost is sent again: so long until some is.
    let mut number = 0;
    until("packets are dropped", LONG, || {
        number += 1;
        client.say(&format!("more {number}"));
        network.counts("a").1 > 0
    });
    for number in 1..=number {
        assert_eq!(client.hear(LONG), Ok(format!("more {number}")), "nothing is lost for good");
    }
    let (moved, dropped) = network.counts("a");
    assert!(moved > 20 && dropped < moved, "{moved} moved, {dropped} dropped");
    network.cut("a");
    client.say("two");
    assert_eq!(client.hear(Duration::from_secs(2)), Err(RecvTimeoutError::Timeout));
    network.heal("a");
    assert_eq!(client.hear(LONG).as_deref(), Ok("two"));
}
