    for (i = 1; i < CLASSES; i++) {
        if (probabilities[i] > probabilities[class_number]) {
            class_number = i;
        }
    }
    most = probabilities[class_number];
    for (i = 0; i < CLASSES; i++) {
        probabilities[i] = exponential(probabilities[i] - most);
        sum += probabilities[i];
    }
    for (i = 0; i < CLASSES; i++) {
        probabilities[i] /= sum;
    }
    return class_number;
}
