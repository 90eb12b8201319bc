//! How the machine stands: on its battery, on a link that costs, how long it slept. Read where the
//! kernel and the network's configuration say it plainly; what nobody says is not guessed.

use std::fs;
use std::path::Path;

use keelhold_wire::{Condition, LinkCost, Power};
use rustix::time::{ClockId, clock_gettime};

const SUPPLIES: &str = "/sys/class/power_supply";
const ROUTES: &str = "/proc/net/route";
const NETWORK_MANAGER: &str = "/run/NetworkManager/devices";
const CONNECTIONS: [&str; 2] =
    ["/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections"];

/// As it is now. `metered` is what the machine's configuration says about its link.
#[must_use]
pub fn look(metered: Option<bool>) -> Condition {
    let (power, charge) = power(Path::new(SUPPLIES));
    let metered = metered.or_else(metered_by_network_manager);
    let link = match metered {
        Some(true) => LinkCost::Metered,
        Some(false) => LinkCost::Free,
        None => LinkCost::Unknown,
    };
    Condition { power, charge, link, slept_seconds: slept_seconds() }
}

/// The clock that stands still while the machine sleeps has fallen behind by so much.
fn slept_seconds() -> u64 {
    let seconds = |clock| clock_gettime(clock).tv_sec;
    let slept = seconds(ClockId::Boottime) - seconds(ClockId::Monotonic);
    // Read one after another they may differ by a second that nobody slept.
    u64::try_from(slept).ok().filter(|slept| *slept > 1).unwrap_or(0)
}

fn word(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// On its battery is a machine that has one which empties, and no mains.
fn power(supplies: &Path) -> (Power, Option<u32>) {
    let (mut empties, mut mains, mut charge) = (false, false, None);
    for supply in fs::read_dir(supplies).into_iter().flatten().flatten() {
        let ask = |name: &str| word(&supply.path().join(name));
        match ask("type").as_str() {
            "Mains" | "USB" => mains |= ask("online") == "1",
            // Batteries of mice and pens have the scope of their device.
            "Battery" if ask("scope") != "Device" => {
                empties |= ask("status") == "Discharging";
                let percent = ask("capacity").parse().ok().filter(|percent| *percent <= 100);
                charge = charge.max(percent);
            }
            _ => {}
        }
    }
    let power = if empties && !mains { Power::Battery } else { Power::Mains };
    (power, charge)
}

/// What the connection of the default route says about itself.
fn metered_by_network_manager() -> Option<bool> {
    let interface = default_interface(&word(Path::new(ROUTES)))?;
    let index = word(&Path::new("/sys/class/net").join(interface).join("ifindex"));
    let device = word(&Path::new(NETWORK_MANAGER).join(index));
    let uuid = key(&device, "connection-uuid")?.to_owned();
    let files =
        CONNECTIONS.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let texts = files.map(|file| word(&file.path()));
    metered(&texts.collect::<Vec<_>>(), &uuid)
}

/// proc(5): the first line names the columns; a destination of zeros is the default.
fn default_interface(routes: &str) -> Option<String> {
    let default = routes.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (interface, destination) = (words.next()?, words.next()?);
        (destination == "00000000").then_some(interface)
    });
    default.map(str::to_owned)
}

fn key<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix('=')).map(str::trim)
}

/// NetworkManager: 1 is yes, 2 is no; else it guesses, and this does not.
fn metered(connections: &[String], uuid: &str) -> Option<bool> {
    let connection = connections.iter().find(|text| key(text, "uuid") == Some(uuid))?;
    match key(connection, "metered")? {
        "1" => Some(true),
        "2" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(dir: &Path, name: &str, facts: &[(&str, &str)]) {
        fs::create_dir_all(dir.join(name)).unwrap();
        facts.iter().for_each(|(fact, value)| fs::write(dir.join(name).join(fact), value).unwrap());
    }

    #[test]
    fn a_machine_is_on_its_battery_when_that_empties_and_no_mains_is_there() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(power(dir.path()), (Power::Mains, None));
        let mouse = [("type", "Battery\n"), ("scope", "Device"), ("status", "Discharging")];
        supply(dir.path(), "mouse", &mouse);
        assert_eq!(power(dir.path()), (Power::Mains, None));
        let own = [("type", "Battery\n"), ("status", "Discharging\n"), ("capacity", "73\n")];
        supply(dir.path(), "BAT0", &own);
        supply(dir.path(), "AC", &[("type", "Mains\n"), ("online", "1\n")]);
        assert_eq!(power(dir.path()), (Power::Mains, Some(73)));
        supply(dir.path(), "AC", &[("online", "0\n")]);
        assert_eq!(power(dir.path()), (Power::Battery, Some(73)));
        supply(dir.path(), "BAT0", &[("status", "Full\n"), ("capacity", "900")]);
        assert_eq!(power(dir.path()), (Power::Mains, None));
    }

    #[test]
    fn a_link_is_metered_where_its_connection_says_so() {
        let routes = "Iface\tDestination\tGateway\nlo\t0000007F\t0\nwlan0\t00000000\t010000C0\n";
        assert_eq!(default_interface(routes).as_deref(), Some("wlan0"));
        assert_eq!(default_interface("Iface\tDestination\n"), None);
        let phone = "[connection]\nid=phone\nuuid=u-1\nmetered=1\n".to_owned();
        let home = "[connection]\nuuid=u-2\n".to_owned();
        let all = [phone, home];
        assert_eq!(metered(&all, "u-1"), Some(true));
        assert_eq!((metered(&all, "u-2"), metered(&all, "u-3")), (None, None));
        assert_eq!(look(Some(true)).link, LinkCost::Metered);
        assert_eq!(look(Some(false)).link, LinkCost::Free);
    }
}
