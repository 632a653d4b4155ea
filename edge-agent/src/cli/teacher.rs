//! What commands say of the owner's model.

/// Why it is not asked where noise protects rows.
pub(super) const UNDER_PRIVACY: &str = "the model is not used under privacy.epsilon: whether it \
     may label rows depends on rows, which no noise covers";
/// What to do about that.
pub(super) const PRIVACY_ADVICE: &str = "label rows by a program of your own, or set teacher.kind \
     to \"kernel\"";
/// What to do about a model that is worse than the local teacher.
pub(super) const WORSE_ADVICE: &str = "check teacher.classes, teacher.scale, teacher.mean and \
     teacher.std against what the model was trained on (docs/onnx.md); until then rows without a \
     label stay so";
