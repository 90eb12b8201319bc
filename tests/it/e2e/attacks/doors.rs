//! Whoever knocks without being the machine it says it is.

use std::sync::Arc;

use keelhold_daemon::authority::Authority;
use keelhold_daemon::clock::Clock;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::liar::{Ending, Liar, Papers, Welcomed, request, stranger};
use keelhold_wire::{ALPN_AGENT, ALPN_ENROLL, FromAgent, Message, Renew};
use rcgen::KeyPair;

use super::Door;
use super::stage::Stage;

/// Says hello with these papers.
fn hello(papers: &Papers, protocols: &[&[u8]]) -> Ending {
    let Ok(mut liar) = Liar::dial(papers, protocols) else { return Ending::Cut };
    liar.say(&Liar::hello(1, 1));
    // A welcome would be followed by waiting for a job, in vain.
    match liar.hear::<keelhold_wire::FromServer>() {
        Ok(Some(keelhold_wire::FromServer::Refuse(refusal))) => Ending::Refused(refusal.code),
        Ok(Some(other)) => panic!("{other:?}"),
        Ok(None) | Err(_) => Ending::Cut,
    }
}

struct Fixed(i64);

impl Clock for Fixed {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0)
    }

    fn passed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// The thief with a certificate of this authority, made so many days from now.
fn certified(stage: &Stage, authority: &Authority, days: i64) -> Papers {
    let now = keelhold_daemon::clock::SystemClock.now().0;
    let clock = Fixed(now + days * 86_400 * 1_000_000_000);
    let issued = authority.issue(&stage.thief.request(), &stage.thief_id, &clock).unwrap();
    stage.thief.with_certificate(issued.certificate)
}

fn enrol(stage: &Stage, secret: [u8; 16], request: Vec<u8>) -> Ending {
    let papers = stage.thief.without_certificate();
    let mut liar = Liar::dial(&papers, &[ALPN_ENROLL]).unwrap();
    match liar.enrol(secret, request) {
        Welcomed::Enrolled(enrolled) => panic!("enrolled as {}", enrolled.machine_name),
        Welcomed::Not(ending) => ending,
    }
}

fn token(stage: &Stage, name: &str) -> [u8; 16] {
    let token = stage.appliance.ask(&["machine", "token", name]).ok();
    let token: keelhold_wire::Token = token["token"].as_str().unwrap().parse().unwrap();
    token.secret
}

/// A machine of its own, which may be revoked.
fn enrolled(stage: &Stage, name: &str) -> Papers {
    let state = stage.appliance.folder.join(name);
    stage.appliance.enrol(name, &state);
    Papers::of_machine(&state, stage.appliance.address())
}

/// Of a client hello, this much.
fn part_of_a_handshake() -> Vec<u8> {
    [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[7; 40]].concat()
}

const STRANGERS: &[Door] = &[
    ("garbage instead of TLS", Ending::Cut, |stage| {
        stranger(stage.appliance.address(), &[0xa5; 4_000])
    }),
    ("HTTP instead of TLS", Ending::Cut, |stage| {
        stranger(stage.appliance.address(), b"GET /api/v1/points HTTP/1.1\r\nHost: x\r\n\r\n")
    }),
    ("half a handshake, then silence", Ending::Cut, |stage| {
        stranger(stage.appliance.address(), &part_of_a_handshake())
    }),
    ("a TLS record that claims more than there is", Ending::Cut, |stage| {
        stranger(stage.appliance.address(), &[0x16, 0x03, 0x01, 0xff, 0xff])
    }),
    ("no certificate", Ending::Cut, |stage| {
        hello(&stage.thief.without_certificate(), &[ALPN_AGENT])
    }),
    ("no protocol named", Ending::Cut, |stage| hello(&stage.thief, &[])),
    ("a protocol there is not", Ending::Cut, |stage| hello(&stage.thief, &[b"keelhold/999"])),
];

const CERTIFICATES: &[Door] = &[
    ("a certificate signed by itself", Ending::Cut, |stage| {
        hello(&stage.thief.self_signed(&stage.thief_id), &[ALPN_AGENT])
    }),
    ("a certificate of another appliance", Ending::Cut, |stage| {
        let (foreign, _) = Authority::create().unwrap();
        hello(&certified(stage, &foreign, 0), &[ALPN_AGENT])
    }),
    ("a certificate that has expired", Ending::Cut, |stage| {
        hello(&certified(stage, &stage.authority, -100), &[ALPN_AGENT])
    }),
    ("a certificate of the future", Ending::Cut, |stage| {
        hello(&certified(stage, &stage.authority, 100), &[ALPN_AGENT])
    }),
    ("another machine's certificate, without its key", Ending::Cut, |stage| {
        let state = &stage.appliance.agent_state;
        let honest = Papers::of_machine(state, stage.appliance.address());
        hello(&stage.thief.with_certificate_of(&honest), &[ALPN_AGENT])
    }),
    ("a right certificate for a key nobody enrolled", Ending::Refused(306), |stage| {
        // What somebody with the authority's key could make at most.
        let key = KeyPair::generate().unwrap();
        let clock = Arc::new(keelhold_daemon::clock::SystemClock);
        let issued = stage.authority.issue(&request(&key), &stage.thief_id, clock.as_ref());
        let papers = stage.thief.with(issued.unwrap().certificate, &key);
        hello(&papers, &[ALPN_AGENT])
    }),
    ("a revoked certificate", Ending::Refused(306), |stage| {
        let papers = enrolled(stage, "revoked");
        let _ = stage.appliance.ask(&["machine", "revoke", "revoked"]).ok();
        hello(&papers, &[ALPN_AGENT])
    }),
    ("a certificate revoked while it is connected", Ending::Cut, |stage| {
        let mut liar = Liar::greeted(&enrolled(stage, "cut"));
        let _ = stage.appliance.ask(&["machine", "revoke", "cut"]).ok();
        let asked = std::time::Instant::now();
        let ending = liar.ending();
        assert!(asked.elapsed().as_secs() < 2, "{:?}", asked.elapsed());
        ending
    }),
    ("an old certificate after another enrolment", Ending::Refused(306), |stage| {
        let old = enrolled(stage, "again");
        let _new = enrolled(stage, "again");
        hello(&old, &[ALPN_AGENT])
    }),
    ("a revoked key under a new token", Ending::Refused(306), |stage| {
        let papers = enrolled(stage, "back");
        let _ = stage.appliance.ask(&["machine", "revoke", "back"]).ok();
        enrol(stage, token(stage, "back"), papers.request())
    }),
    ("another machine's key under a token", Ending::Refused(306), |stage| {
        enrol(stage, token(stage, "impostor"), stage.thief.request())
    }),
];

const TOKENS: &[Door] = &[
    ("a token nobody made", Ending::Refused(303), |stage| {
        enrol(stage, [1; 16], stage.thief.request())
    }),
    ("a token used twice", Ending::Refused(305), |stage| {
        let (secret, key) = (token(stage, "twice"), KeyPair::generate().unwrap());
        let mut liar = Liar::dial(&stage.thief.without_certificate(), &[ALPN_ENROLL]).unwrap();
        assert!(matches!(liar.enrol(secret, request(&key)), Welcomed::Enrolled(_)));
        enrol(stage, secret, request(&KeyPair::generate().unwrap()))
    }),
    ("a request whose signature is wrong", Ending::Refused(311), |stage| {
        let mut request = request(&KeyPair::generate().unwrap());
        *request.last_mut().unwrap() ^= 1;
        enrol(stage, token(stage, "forged"), request)
    }),
    ("a message of a machine on a newcomer's connection", Ending::Cut, |stage| {
        let papers = stage.thief.without_certificate();
        let mut liar = Liar::dial(&papers, &[ALPN_ENROLL]).unwrap();
        liar.say(&FromAgent::Renew(Renew { request: stage.thief.request() }));
        liar.ending()
    }),
    ("a newcomer's message beyond its limit", Ending::Cut, |stage| {
        let papers = stage.thief.without_certificate();
        let mut liar = Liar::dial(&papers, &[ALPN_ENROLL]).unwrap();
        liar.body(0x40, &vec![0; 17 << 10]);
        liar.ending()
    }),
    ("a newcomer that says nothing", Ending::Cut, |stage| {
        let papers = stage.thief.without_certificate();
        Liar::dial(&papers, &[ALPN_ENROLL]).unwrap().ending()
    }),
    ("a greeting on a newcomer's connection", Ending::Cut, |stage| {
        let mut liar = Liar::dial(&stage.thief, &[ALPN_ENROLL]).unwrap();
        liar.raw(&Liar::hello(1, 1).to_bytes());
        liar.ending()
    }),
];

pub const ALL: &[&[Door]] = &[STRANGERS, CERTIFICATES, TOKENS];
