//go:build race

package kubernetes

// raceDetector says whether the tests run under the race detector.
const raceDetector = true
