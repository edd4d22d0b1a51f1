//! What each weather does to bytes and connections, against a server that echoes. Owns nothing of etcd.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;

/// Long enough for a byte that is on its way to be there, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long a byte that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that echoes, and a way to it.
fn echo() -> (Proxy, Way) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut &stream));
        }
    });
    let proxy = Proxy::start().unwrap();
    let way = proxy.way(&address.to_string()).unwrap();
    (proxy, way)
}

fn connect(way: &Way) -> TcpStream {
    TcpStream::connect(way.endpoint()).unwrap()
}

/// Sends a byte; how long the answer took, or what came instead of it.
fn ask(mut stream: &TcpStream, within: Duration) -> Result<Duration, ErrorKind> {
    let begun = Instant::now();
    stream.write_all(b"x").map_err(|e| e.kind())?;
    hear(stream, within).map(|()| begun.elapsed())
}

fn hear(mut stream: &TcpStream, within: Duration) -> Result<(), ErrorKind> {
    stream.set_read_timeout(Some(within)).unwrap();
    match stream.read(&mut [0]) {
        Ok(0) => Err(ErrorKind::UnexpectedEof),
        Ok(_) => Ok(()),
        Err(error) => Err(error.kind()),
    }
}

const NOTHING: Result<(), ErrorKind> = Err(ErrorKind::WouldBlock);

#[test]
fn what_was_held_arrives_when_it_passes_again_in_each_direction() {
    let (_proxy, way) = echo();
    let stream = connect(&way);
    ask(&stream, PATIENCE).unwrap();
    for weather in [Weather { up: Flow::Hold, ..Weather::default() }, Weather { down: Flow::Hold, ..Weather::default() }] {
        way.set(weather);
        assert_eq!(ask(&stream, SILENCE).map(drop), NOTHING);
        way.set(Weather::default());
        hear(&stream, PATIENCE).unwrap();
    }
    assert_eq!(way.carried(), 6);
    // A new connection meets the same: it is accepted, and nothing is answered.
    way.set(Weather::both(Flow::Hold));
    assert_eq!(ask(&connect(&way), SILENCE).map(drop), NOTHING);
}

#[test]
fn what_vanished_is_followed_by_a_reset_and_a_connection_that_lost_nothing_lives() {
    let (_proxy, way) = echo();
    let (loser, quiet) = (connect(&way), connect(&way));
    ask(&loser, PATIENCE).unwrap();
    ask(&quiet, PATIENCE).unwrap();
    way.set(Weather::both(Flow::Drop));
    assert_eq!(ask(&loser, SILENCE).map(drop), NOTHING);
    way.set(Weather::default());
    assert_eq!(hear(&loser, PATIENCE), Err(ErrorKind::ConnectionReset));
    ask(&quiet, PATIENCE).unwrap();
}

#[test]
fn delays_and_throttles_take_their_time() {
    let (_proxy, way) = echo();
    let stream = connect(&way);
    way.set(Weather::both(Flow::Delay(Duration::from_millis(60))));
    assert!(ask(&stream, PATIENCE).unwrap() >= Duration::from_millis(120));
    way.set(Weather { up: Flow::Throttle(20), ..Weather::default() });
    assert!(ask(&stream, PATIENCE).unwrap() >= Duration::from_millis(50));
    way.set(Weather::default());
    ask(&stream, PATIENCE).unwrap();
}

#[test]
fn a_reset_is_seen_and_a_lost_server_is_not() {
    let (_proxy, way) = echo();
    let stream = connect(&way);
    ask(&stream, PATIENCE).unwrap();
    way.lose_server();
    assert_eq!(ask(&stream, SILENCE).map(drop), NOTHING);
    way.reset();
    assert_eq!(hear(&stream, PATIENCE), Err(ErrorKind::ConnectionReset));
    ask(&connect(&way), PATIENCE).unwrap();
}

#[test]
fn new_connections_are_refused_or_met_with_silence() {
    let (_proxy, way) = echo();
    way.set(Weather { greeting: Greeting::Silence, ..Weather::default() });
    let silent = connect(&way);
    assert_eq!(ask(&silent, SILENCE).map(drop), NOTHING);
    way.set(Weather { greeting: Greeting::Reset, ..Weather::default() });
    assert_eq!(hear(&silent, PATIENCE), Err(ErrorKind::ConnectionReset));
    let refused = connect(&way);
    assert!(matches!(hear(&refused, PATIENCE), Err(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)));
    way.set(Weather::default());
    ask(&connect(&way), PATIENCE).unwrap();
}
