//! Units of measurements, and how one becomes another.

/// A number in one unit, `number × scale + offset` in another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Conversion {
    /// What multiplies it.
    pub(in super::super) scale: f64,
    /// What is added then.
    pub(in super::super) offset: f64,
}

/// How a number in unit `from` becomes one in unit `to`: nothing changes for
/// two ways to write one unit. None where one of them is not known here, or
/// they measure different things.
pub(in super::super) fn conversion(from: &str, to: &str) -> Option<Conversion> {
    if same(from, to) {
        return Some(Conversion {
            scale: 1.0,
            offset: 0.0,
        });
    }
    let (from, to) = (known(from)?, known(to)?);
    (from.0 == to.0).then(|| Conversion {
        scale: from.1 / to.1,
        offset: (from.2 - to.2) / to.1,
    })
}

/// Whether both are the same unit as far as writing goes.
pub(in super::super) fn same(one: &str, other: &str) -> bool {
    spelled(one) == spelled(other)
}

/// Without blanks, case, powers and dots of one kind or another.
fn spelled(unit: &str) -> String {
    let plain = unit
        .chars()
        .filter(|c| !c.is_whitespace() && !"^*·".contains(*c));
    let plain = plain.map(|c| match c {
        '³' => '3',
        '²' => '2',
        'µ' | 'μ' => 'u',
        other => other,
    });
    plain.collect::<String>().to_lowercase().replace('°', "")
}

/// What it measures, and its size and zero in that family's first unit.
fn known(unit: &str) -> Option<(usize, f64, f64)> {
    let wanted = spelled(unit);
    FAMILIES.iter().enumerate().find_map(|(family, units)| {
        let found = units
            .iter()
            .find(|(names, ..)| names.split(' ').any(|name| name == wanted));
        found.map(|&(_, size, zero)| (family, size, zero))
    })
}

/// Names in lower case without blanks, size, and zero.
type Unit = (&'static str, f64, f64);

const FAMILIES: &[&[Unit]] = &[
    &[
        ("l/min lpm l/m", 1.0, 0.0),
        ("l/s lps", 60.0, 0.0),
        ("l/h lph", 1.0 / 60.0, 0.0),
        ("m3/h m3h cbm/h", 1_000.0 / 60.0, 0.0),
        ("m3/s", 60_000.0, 0.0),
        ("gpm gal/min", 3.785_411_784, 0.0),
    ],
    &[
        ("bar", 1.0, 0.0),
        ("mbar hpa", 1e-3, 0.0),
        ("pa", 1e-5, 0.0),
        ("kpa", 1e-2, 0.0),
        ("mpa", 10.0, 0.0),
        ("psi", 0.068_947_572_9, 0.0),
        ("atm", 1.013_25, 0.0),
    ],
    &[
        ("c degc celsius", 1.0, 0.0),
        ("k kelvin", 1.0, -273.15),
        ("f degf fahrenheit", 5.0 / 9.0, -160.0 / 9.0),
    ],
    &[
        ("g", 1.0, 0.0),
        ("mg", 1e-3, 0.0),
        ("m/s2 m/s/s", 1.0 / 9.806_65, 0.0),
    ],
    &[
        ("rad/s", 1.0, 0.0),
        ("deg/s dps", std::f64::consts::PI / 180.0, 0.0),
        ("rpm 1/min", std::f64::consts::PI / 30.0, 0.0),
    ],
    &[
        ("m/s", 1.0, 0.0),
        ("mm/s", 1e-3, 0.0),
        ("cm/s", 1e-2, 0.0),
        ("km/h kmh kph", 1.0 / 3.6, 0.0),
        ("in/s ips", 0.0254, 0.0),
        ("mph", 0.447_04, 0.0),
    ],
    &[
        ("m", 1.0, 0.0),
        ("cm", 1e-2, 0.0),
        ("mm", 1e-3, 0.0),
        ("um", 1e-6, 0.0),
        ("in inch", 0.0254, 0.0),
        ("ft", 0.3048, 0.0),
    ],
    &[("v volt", 1.0, 0.0), ("mv", 1e-3, 0.0), ("kv", 1e3, 0.0)],
    &[("a amp ampere", 1.0, 0.0), ("ma", 1e-3, 0.0)],
    &[
        ("w watt", 1.0, 0.0),
        ("kw", 1e3, 0.0),
        ("mw", 1e-3, 0.0),
        ("hp", 745.699_871_6, 0.0),
    ],
    &[("hz 1/s", 1.0, 0.0), ("khz", 1e3, 0.0)],
    &[
        ("1 ratio", 1.0, 0.0),
        ("% percent", 1e-2, 0.0),
        ("ppm", 1e-6, 0.0),
    ],
    &[
        ("s sec", 1.0, 0.0),
        ("ms", 1e-3, 0.0),
        ("us", 1e-6, 0.0),
        ("min", 60.0, 0.0),
        ("h", 3_600.0, 0.0),
    ],
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_become_what_they_are_in_another_unit() {
        for (from, to, number, expected) in [
            ("m³/h", "l/min", 6.0, 100.0),
            ("L/min", "l/min", 3.0, 3.0),
            ("kPa", "bar", 250.0, 2.5),
            ("°F", "°C", 212.0, 100.0),
            ("K", "degC", 273.15, 0.0),
            ("C", "F", 100.0, 212.0),
            ("m/s^2", "g", 9.80665, 1.0),
            ("mm / s", "m/s", 1_500.0, 1.5),
        ] {
            let found = conversion(from, to).unwrap();
            let made = number * found.scale + found.offset;
            assert!((made - expected).abs() < 1e-9, "{from} to {to}: {made}");
        }
        assert_eq!(conversion("bar", "l/min"), None);
        assert_eq!(conversion("furlong", "m"), None);
    }

    #[test]
    fn every_unit_is_known_by_one_name_in_one_family() {
        let names: Vec<&str> = { FAMILIES.iter() }
            .flat_map(|family| family.iter().flat_map(|unit| unit.0.split(' ')))
            .collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| spelled(name) == *name));
    }
}
