package org.example.catalogue;

import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ConsumerConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ProviderConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.model.ApplicationModel;
import org.example.shop.CatalogueService;
import org.example.shop.InventoryService;

/**
 * The catalogue of the shop's articles: a Dubbo provider, and a consumer of the inventory.
 *
 * <p>Settings are environment variables: POD_NAMESPACE; APPLICATION, its name; DUBBO_PROTOCOL (dubbo
 * or tri) and DUBBO_PORT, of what it provides; INVENTORY_PROTOCOL, of its calls to the inventory;
 * TRACING (none, brave, dubbo or observation) and ZIPKIN_ENDPOINT.
 */
public final class Catalogue {
    private Catalogue() {}

    public static void main(String[] args) {
        ApplicationConfig application = new ApplicationConfig(Settings.application());

        RegistryConfig registry = new RegistryConfig(
                "kubernetes://DEFAULT_MASTER_HOST?registry-type=service&trustCerts=true&namespace="
                        + Settings.get("POD_NAMESPACE", "shop"));
        ProtocolConfig protocol = new ProtocolConfig(
                Settings.get("DUBBO_PROTOCOL", "dubbo"), Integer.parseInt(Settings.get("DUBBO_PORT", "20880")));

        ReferenceConfig<InventoryService> inventory = new ReferenceConfig<>();
        inventory.setInterface(InventoryService.class);
        // Kubernetes has no place for which application offers an interface.
        inventory.setProvidedBy("inventory");
        inventory.setProtocol(Settings.get("INVENTORY_PROTOCOL", "dubbo"));
        inventory.setCheck(false);
        inventory.setTimeout(2000);
        inventory.setRetries(0);

        DubboBootstrap bootstrap = DubboBootstrap.getInstance()
                .application(application)
                .registry(registry)
                .protocol(protocol)
                .reference(inventory);
        trace(bootstrap);
        // References are ready before services are exported.
        Articles articles = new Articles(Settings.get("HOSTNAME", "catalogue"), inventory::get);
        bootstrap
                .service(service(articles, null, null))
                // Another version in another group: the outlet, where all costs half.
                .service(service(articles.outlet(), "outlet", "2.0.0"))
                .start()
                .await();
    }

    private static void trace(DubboBootstrap bootstrap) {
        ApplicationModel model = bootstrap.getApplicationModel();
        switch (Settings.get("TRACING", "none")) {
            case "brave" -> {
                ProviderConfig provider = new ProviderConfig();
                provider.setFilter("tracing");
                ConsumerConfig consumer = new ConsumerConfig();
                consumer.setFilter("tracing");
                bootstrap.provider(provider).consumer(consumer);
            }
            case "dubbo" -> Spans.configured(model);
            case "observation" -> Spans.observed(model);
            default -> {}
        }
    }

    private static ServiceConfig<CatalogueService> service(CatalogueService ref, String group, String version) {
        ServiceConfig<CatalogueService> service = new ServiceConfig<>();
        service.setInterface(CatalogueService.class);
        service.setRef(ref);
        service.setGroup(group);
        service.setVersion(version);
        return service;
    }
}
