//go:build !race

package zookeeper

const raceDetector = false
