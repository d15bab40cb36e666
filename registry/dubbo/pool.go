package dubbo

import (
	"dubbo.apache.org/dubbo-go/v3/remoting/getty"
)

// fill is what the client of the Dubbo protocol waits between two connections of
// a pool, in milliseconds, times how many it has made, ten at most.
//
// Its own 300 ms fill the usual pool of 16 in half a minute. A provider in Java
// that ends keeps its port open for up to ten seconds and closes at once what
// connects then, and dubbo-getty (v1.4.10) answers each connection that closes by
// another one, without a pause, while it goes on filling: thousands a second, each
// with its buffers, until the process ends. A pool that is full before
// its provider can end does not begin that.
const fill = 10

// It is set before any program's own getty.SetClientConf, which comes after and
// counts. The parameters of a protocol's configuration do not: dubbo-go 3.3.2 gives
// consumers the protocol's name where its client looks for the configuration, which
// then says that it cannot read it, and goes by what stands here. Should it read
// them some day, each connection's CheckValidity would multiply this interval by
// 1e6, in place, as it takes it for milliseconds every time.
func init() { //nolint:gochecknoinits // nothing later would come before what a program sets itself
	conf := getty.GetDefaultClientConfig()
	conf.ReconnectInterval = fill
	getty.SetClientConf(*conf)
}
