//! The guest `coin`, whose state holds a number with more digits than a double can represent.

use std::path::Path;
use std::sync::OnceLock;

use quipu_guest_build::{Options, build};

static COIN: OnceLock<Vec<u8>> = OnceLock::new();

/// The component.
pub fn coin() -> Vec<u8> {
    coin_that_loses(0)
}

/// The component of a version that loses a number of wei with each deposit.
pub fn coin_that_loses(wei: u8) -> Vec<u8> {
    let mut component = COIN.get_or_init(built).clone();
    let at = component
        .windows(coin::MARK.len())
        .position(|window| window == coin::MARK)
        .expect("the component says how much it loses");
    component[at + coin::MARK.len()] = b'0' + wei;
    component
}

fn built() -> Vec<u8> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/coin");
    let options = Options {
        locked: true,
        ..Options::default()
    };
    let built = build(&package, &options).unwrap();
    std::fs::read(built.component).unwrap()
}
