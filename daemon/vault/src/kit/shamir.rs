//! Shamir's scheme: a secret is the value at 0 of a random polynomial, a share its value elsewhere.
//! Every byte has a polynomial of its own. Fewer shares than its degree + 1 fit every secret equally well.

use keelhold_cipher::KEY_LEN;
use zeroize::Zeroizing;

use super::field::{invert, multiply};
use crate::keys::KitShape;
use crate::random::Random;

/// The values at 1 … n.
pub(super) fn split(
    secret: &[u8; KEY_LEN],
    shape: KitShape,
    random: &mut impl Random,
) -> Vec<Zeroizing<[u8; KEY_LEN]>> {
    // Coefficients are any bytes, zero included: to avoid a zero would tell that it is none.
    let mut coefficients = Zeroizing::new(vec![[0; KEY_LEN]; usize::from(shape.need()) - 1]);
    coefficients.iter_mut().for_each(|row| random.fill(row));
    let value = |x: u8| {
        let mut value = Zeroizing::new([0; KEY_LEN]);
        for row in coefficients.iter().rev() {
            step(&mut value, x, row);
        }
        step(&mut value, x, secret);
        value
    };
    (1..=shape.shares()).map(value).collect()
}

/// One step of Horner's rule: value × x + coefficient.
fn step(value: &mut [u8; KEY_LEN], x: u8, coefficient: &[u8; KEY_LEN]) {
    for (byte, coefficient) in value.iter_mut().zip(coefficient) {
        *byte = multiply(*byte, x) ^ coefficient;
    }
}

/// The value at `x` of the polynomial through these points, whose places differ.
pub(super) fn value_at(x: u8, points: &[(u8, &[u8; KEY_LEN])]) -> Zeroizing<[u8; KEY_LEN]> {
    let mut value = Zeroizing::new([0; KEY_LEN]);
    for (index, (place, share)) in points.iter().enumerate() {
        let mut weight = 1;
        for (other, (other_place, _)) in points.iter().enumerate() {
            if other != index {
                // Places are no secret. In this field minus is plus.
                let over = multiply(x ^ other_place, invert(place ^ other_place));
                weight = multiply(weight, over);
            }
        }
        for (byte, share) in value.iter_mut().zip(share.iter()) {
            *byte ^= multiply(*share, weight);
        }
    }
    value
}
