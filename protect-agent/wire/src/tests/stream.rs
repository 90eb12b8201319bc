//! Messages over a byte stream, cut at every place.

use super::samples;
use crate::io::{ReceiveError, Receiver, Sender};
use crate::{FromAgent, FromServer, Message, WireError};
use tokio::io::AsyncWriteExt;

async fn receive_all(bytes: &[u8]) -> (Vec<FromAgent>, Option<ReceiveError>) {
    let mut receiver = Receiver::new(bytes);
    let mut messages = Vec::new();
    loop {
        match receiver.receive().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

#[tokio::test]
async fn messages_come_in_order_and_a_torn_one_is_an_error() {
    let all = samples::from_agent();
    let mut sender = Sender::new(Vec::new());
    let mut ends = vec![0];
    for message in &all {
        sender.send(message).await.unwrap();
        ends.push(sender.sent() as usize);
    }
    let bytes: Vec<u8> = all.iter().flat_map(Message::to_bytes).collect();
    for cut in 0..=bytes.len() {
        let (messages, error) = receive_all(&bytes[..cut]).await;
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(messages.len(), whole);
        assert_eq!(messages, all[..whole]);
        let between = ends.contains(&cut);
        assert_eq!(error.is_none(), between, "cut at {cut}");
        assert!(between || matches!(error, Some(ReceiveError::Torn)));
    }
}

/// Dropping a receive in the middle loses nothing.
#[tokio::test]
async fn a_receive_can_be_given_up_and_begun_again() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut receiver = Receiver::new(near);
    let all = samples::from_server();
    let bytes: Vec<u8> = all.iter().flat_map(Message::to_bytes).collect();
    let mut messages: Vec<FromServer> = Vec::new();
    for byte in bytes {
        far.write_u8(byte).await.unwrap();
        tokio::select! {
            biased;
            message = receiver.receive() => messages.push(message.unwrap().unwrap()),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(messages, all);
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
    let mut bytes = FromAgent::Hello(samples::hello()).to_bytes();
    bytes[2] = 0xff;
    let (_, error) = receive_all(&bytes).await;
    assert!(matches!(error, Some(ReceiveError::Protocol(WireError::TooLong { .. }))), "{error:?}");
    let hello = FromAgent::Hello(samples::hello()).to_bytes();
    let mut receiver = Receiver::with_limit(hello.as_slice(), 8);
    assert!(receiver.receive::<FromAgent>().await.is_err());
}

/// What only a server may say is not a message to it.
#[tokio::test]
async fn messages_of_the_other_direction_are_refused() {
    let bytes = samples::from_server().remove(0).to_bytes();
    let (_, error) = receive_all(&bytes).await;
    let unknown = WireError::UnknownKind { kind: 0x02 };
    assert!(matches!(error, Some(ReceiveError::Protocol(found)) if found == unknown));
}
