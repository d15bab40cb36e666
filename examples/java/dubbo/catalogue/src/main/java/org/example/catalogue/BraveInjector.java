package org.example.catalogue;

import brave.rpc.RpcTracing;
import org.apache.dubbo.common.extension.ExtensionInjector;

/** Gives Brave's filter of Dubbo, whose name is "tracing", what it tells spans with. */
public final class BraveInjector implements ExtensionInjector {
    private static final class Lazily {
        static final RpcTracing TRACING = RpcTracing.create(Spans.brave());
    }

    @Override
    public <T> T getInstance(Class<T> type, String name) {
        return type == RpcTracing.class ? type.cast(Lazily.TRACING) : null;
    }
}
