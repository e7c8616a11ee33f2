//! Times and amounts measured from the published log.

use rand::Rng;
use rand::rngs::StdRng;

/// Values at every twentieth of a distribution. The last value is at 99 %.
pub(super) type Quantiles = [u64; 21];

/// Requested euros of applications that reach `finalize`. The last value is higher than measured
/// (50,000) to compensate for the few requests of up to 99,999.
pub(super) const AMOUNT_FINALIZED: Quantiles = [
    1000, 4500, 5000, 5000, 6000, 7500, 8000, 9500, 10000, 10500, 12000, 14000, 15000, 15000,
    19500, 20000, 25000, 26500, 32000, 42000, 62000,
];
/// Requested euros of other applications. The last value is adjusted in the same way.
pub(super) const AMOUNT_OTHERS: Quantiles = [
    0, 1500, 2500, 3000, 4900, 5000, 5000, 5000, 6000, 7000, 8000, 10000, 10000, 10000, 14000,
    15000, 19000, 22000, 27000, 40000, 62000,
];
/// Duration of a piece of work in seconds.
pub(super) const WORK_SECONDS: Quantiles = [
    1, 10, 15, 26, 39, 53, 67, 82, 99, 116, 137, 161, 193, 237, 301, 392, 510, 660, 898, 1465, 4445,
];

/// A kind of work.
pub(super) struct Item {
    pub name: &'static str,
    /// Minutes from scheduling to the first start.
    pub first_minutes: Quantiles,
    /// Minutes from the end of one piece of work to the next.
    pub pause_minutes: Quantiles,
}

/// The first contact with a customer.
pub(super) const LEAD: Item = Item {
    name: "handle-lead",
    first_minutes: [
        0, 0, 1, 3, 6, 10, 14, 19, 25, 33, 42, 57, 78, 119, 265, 590, 673, 724, 886, 1303, 2315,
    ],
    pause_minutes: [
        0, 0, 0, 0, 0, 0, 1, 1, 3, 4, 6, 9, 12, 17, 26, 37, 51, 75, 140, 184, 839,
    ],
};

/// Asking for missing parts of an application.
pub(super) const COMPLETE: Item = Item {
    name: "complete-application",
    first_minutes: [
        0, 0, 0, 1, 5, 13, 23, 37, 56, 78, 105, 136, 175, 237, 314, 540, 749, 859, 1041, 1359, 2427,
    ],
    pause_minutes: [
        0, 0, 1, 5, 13, 26, 50, 87, 137, 188, 242, 298, 413, 852, 1001, 1154, 1361, 1561, 2735,
        4438, 22592,
    ],
};

/// Asking a customer for the reaction to an offer.
pub(super) const CALL: Item = Item {
    name: "call-about-offer",
    first_minutes: [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 12, 4155, 7259, 8949, 9924, 10126, 10334, 11120, 11658,
        15024,
    ],
    pause_minutes: [
        0, 1, 13, 62, 230, 923, 1254, 1495, 1780, 2630, 2929, 3707, 4313, 5463, 6065, 7527, 9479,
        10089, 10982, 12639, 19546,
    ],
};

/// Checking the documents returned with an offer.
pub(super) const VALIDATE: Item = Item {
    name: "validate-application",
    first_minutes: [
        0, 2, 21, 39, 62, 91, 150, 295, 944, 1312, 1548, 2612, 2886, 3125, 4196, 4471, 5598, 5892,
        7089, 7641, 8884,
    ],
    pause_minutes: [
        0, 0, 0, 1, 2, 4, 6, 10, 16, 24, 33, 46, 61, 85, 123, 221, 796, 1079, 1458, 3963, 8468,
    ],
};

/// Asking for information that the check found missing.
pub(super) const MISSING: Item = Item {
    name: "call-for-missing-information",
    first_minutes: [
        0, 0, 0, 1, 1, 3, 7, 12, 20, 30, 41, 54, 66, 79, 101, 125, 149, 183, 227, 310, 1070,
    ],
    pause_minutes: [
        0, 0, 2, 6, 14, 24, 39, 62, 95, 139, 189, 252, 345, 780, 953, 1116, 1381, 2366, 3025, 5406,
        8669,
    ],
};

/// Assessing a suspicion of fraud.
pub(super) const FRAUD: Item = Item {
    name: "assess-fraud",
    first_minutes: [
        0, 0, 1, 2, 4, 13, 46, 88, 174, 235, 673, 897, 1049, 1144, 1300, 1501, 2235, 3372, 4109,
        5417, 8627,
    ],
    pause_minutes: [
        0, 0, 1, 1, 2, 3, 5, 19, 46, 70, 85, 109, 121, 191, 344, 984, 1094, 2462, 2905, 4431, 5465,
    ],
};

/// Returns a random value between two neighbouring quantiles.
pub(super) fn sample(rng: &mut StdRng, quantiles: &Quantiles) -> u64 {
    let step = rng.random_range(0..20);
    let (low, high) = (quantiles[step], quantiles[step + 1]);
    rng.random_range(low..=high)
}
