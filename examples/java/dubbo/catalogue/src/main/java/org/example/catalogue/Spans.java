package org.example.catalogue;

import brave.Tracing;
import io.micrometer.observation.ObservationHandler;
import io.micrometer.observation.ObservationRegistry;
import io.micrometer.tracing.brave.bridge.BraveBaggageManager;
import io.micrometer.tracing.brave.bridge.BraveCurrentTraceContext;
import io.micrometer.tracing.brave.bridge.BravePropagator;
import io.micrometer.tracing.brave.bridge.BraveTracer;
import io.micrometer.tracing.handler.DefaultTracingObservationHandler;
import io.micrometer.tracing.handler.PropagatingReceiverTracingObservationHandler;
import io.micrometer.tracing.handler.PropagatingSenderTracingObservationHandler;
import org.apache.dubbo.config.TracingConfig;
import org.apache.dubbo.config.nested.ExporterConfig;
import org.apache.dubbo.config.nested.PropagationConfig;
import org.apache.dubbo.config.nested.SamplingConfig;
import org.apache.dubbo.rpc.model.ApplicationModel;
import zipkin2.reporter.brave.AsyncZipkinSpanHandler;
import zipkin2.reporter.urlconnection.URLConnectionSender;

/** Tells a collector of the calls that are served and made, by Zipkin's API. */
final class Spans {
    private Spans() {}

    /** Brave, which reports to ZIPKIN_ENDPOINT under the application's name. */
    static Tracing brave() {
        return Tracing.newBuilder()
                .localServiceName(Settings.application())
                .traceId128Bit(true)
                .addSpanHandler(AsyncZipkinSpanHandler.create(URLConnectionSender.create(endpoint())))
                .build();
    }

    /** Dubbo's own tracing, as a configuration of Dubbo 3.3 sets it up. */
    static void configured(ApplicationModel model) {
        ExporterConfig.ZipkinConfig zipkin = new ExporterConfig.ZipkinConfig();
        zipkin.setEndpoint(endpoint());
        ExporterConfig exporter = new ExporterConfig();
        exporter.setZipkinConfig(zipkin);
        SamplingConfig sampling = new SamplingConfig();
        sampling.setProbability(1);
        PropagationConfig propagation = new PropagationConfig();
        propagation.setType(PropagationConfig.B3);
        TracingConfig tracing = new TracingConfig();
        tracing.setEnabled(true);
        tracing.setTracingExporter(exporter);
        tracing.setSampling(sampling);
        tracing.setPropagation(propagation);
        model.getApplicationConfigManager().setTracing(tracing);
    }

    /** Dubbo's own tracing with a registry of observations given to it, which Dubbo 3.2 needs. */
    static void observed(ApplicationModel model) {
        Tracing brave = brave();
        BraveTracer tracer = new BraveTracer(
                brave.tracer(), new BraveCurrentTraceContext(brave.currentTraceContext()), new BraveBaggageManager());
        BravePropagator propagator = new BravePropagator(brave);
        ObservationRegistry registry = ObservationRegistry.create();
        registry.observationConfig().observationHandler(new ObservationHandler.FirstMatchingCompositeObservationHandler(
                new PropagatingSenderTracingObservationHandler<>(tracer, propagator),
                new PropagatingReceiverTracingObservationHandler<>(tracer, propagator),
                new DefaultTracingObservationHandler(tracer)));
        model.getBeanFactory().registerBean(registry);
        TracingConfig tracing = new TracingConfig();
        tracing.setEnabled(true);
        model.getApplicationConfigManager().setTracing(tracing);
    }

    private static String endpoint() {
        return Settings.get("ZIPKIN_ENDPOINT", "http://tracing.weir-system:9411/api/v2/spans");
    }
}
