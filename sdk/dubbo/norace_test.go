//go:build !race

package dubbo

// raceDetector says whether the tests run under the race detector.
const raceDetector = false
