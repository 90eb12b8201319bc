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
        "1f00000001000000HELLO_CRC010105302e312e30066dc3b66c6c65b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"
    );
    let refusal = Refusal::new(309, "no version", "update");
    assert_eq!(
        hex(&FromServer::Refuse(refusal)),
        "1400000003000000REFUSE_CRCb5020a6e6f2076657273696f6e06757064617465"
    );
}

/// One of every message of version 1. With `KEELHOLD_BLESS` set the file is written anew: only for a
/// version that was never released.
#[test]
fn version_1_is_what_it_was() {
    let agent = samples::from_agent().into_iter().map(Said::Agent);
    let server = samples::from_server().into_iter().map(Said::Server);
    let all: Vec<Said> = agent.chain(server).collect();
    let text = transcript::write(&all);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts/messages-1.txt");
    if std::env::var_os("KEELHOLD_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, golden, "the encoding of version 1 has changed");
    assert_eq!(transcript::read(&golden).unwrap(), all);
}

/// A whole backup as it was recorded; what is read from it says the same again.
#[test]
fn a_conversation_comes_back_from_its_text() {
    let text = include_str!("../../transcripts/backup-1.txt");
    let conversation = transcript::read(text).unwrap();
    let names: Vec<&str> = conversation.iter().map(Said::name).collect();
    let expected = [
        "Hello", "Welcome", "StartBackup", "Started", "Items", "Want", "Credit", "Frame", "Credit",
        "Finish", "Committed",
    ];
    assert_eq!(names, expected);
    let bare: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let written = transcript::write(&conversation);
    assert_eq!(written.lines().collect::<Vec<_>>(), bare);
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
