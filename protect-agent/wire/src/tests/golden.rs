//! Bytes that may not change: the greeting for ever, all others within a version.

use super::samples;
use crate::hello::Refusal;
use crate::transcript::{self, Said};
use crate::{FromAgent, FromServer, Message};
use data_encoding::HEXLOWER;

fn hex(message: &impl Message) -> String {
    HEXLOWER.encode(&message.to_bytes())
}

/// An agent of any version can say hello to a server of any version, and understands a refusal.
#[test]
fn the_greeting_is_frozen() {
    let hello = hex(&FromAgent::Hello(samples::hello()));
    assert_eq!(
        hello,
        "1f000000010000005772e14e010105302e312e30066dc3b66c6c65b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"
    );
    let refusal = Refusal::new(309, "no version", "update");
    assert_eq!(
        hex(&FromServer::Refuse(refusal)),
        "14000000030000003de0879bb5020a6e6f2076657273696f6e06757064617465"
    );
}

fn compare_or_bless(name: &str, said: &[Said]) {
    let text = transcript::write(said);
    let path = format!("{}/transcripts/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("KEELHOLD_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "the encoding of a version has changed");
    assert_eq!(transcript::read(&golden).unwrap(), said);
}

/// One of every message of version 1. With `KEELHOLD_BLESS` set the file is written anew: only for a
/// version that was never released.
#[test]
fn version_1_is_what_it_was() {
    let agent = samples::from_agent().into_iter().map(Said::Agent);
    let server = samples::from_server().into_iter().map(Said::Server);
    compare_or_bless("messages-1.txt", &agent.chain(server).collect::<Vec<_>>());
}

#[test]
fn what_version_2_added_is_what_it_was() {
    let agent = samples::from_agent_2().into_iter().map(Said::Agent);
    let server = samples::from_server_2().into_iter().map(Said::Server);
    compare_or_bless("messages-2.txt", &agent.chain(server).collect::<Vec<_>>());
}

/// An addition that says what its absence says is malformed: one message, one encoding.
#[test]
fn an_addition_that_says_nothing_is_refused() {
    for message in samples::from_server() {
        let FromServer::StartBackup(_) = &message else { continue };
        let mut body = message.to_bytes()[crate::header::HEADER_LEN..].to_vec();
        body.extend_from_slice(&[0, 0, 0, 0]);
        assert!(FromServer::from_body(message.kind(), &body.into()).is_err());
    }
}

/// A small backup from the greeting to the point.
#[test]
fn a_backup_is_what_it_was() {
    let agent = |name: &str| {
        let mut all = samples::from_agent().into_iter();
        Said::Agent(all.rfind(|message| message.name() == name).unwrap())
    };
    let server = |name: &str| {
        let mut all = samples::from_server().into_iter();
        Said::Server(all.rfind(|message| message.name() == name).unwrap())
    };
    let conversation = [
        agent("Hello"),
        server("Welcome"),
        server("StartBackup"),
        agent("Started"),
        agent("Items"),
        server("Want"),
        server("Credit"),
        agent("Frame"),
        server("Credit"),
        agent("Skipped"),
        agent("Finish"),
        server("Committed"),
    ];
    compare_or_bless("backup-1.txt", &conversation);
}

#[test]
fn what_is_wrong_in_a_transcript_is_said_with_its_line() {
    let good = transcript::write(&[Said::Agent(samples::from_agent().remove(1))]);
    assert!(transcript::read(&good).is_ok());
    for bad in [
        good.replace("agent", "nobody"),
        good.replace("Ping", "Pong"),
        good.replace("Ping", ""),
        good.replace('\n', "00\n"),
        good.replace("Ping 0", "Ping x"),
    ] {
        let error = transcript::read(&bad).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
