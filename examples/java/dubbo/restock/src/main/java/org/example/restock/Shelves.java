package org.example.restock;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.dubbo.config.ReferenceConfig;
import org.example.shop.CatalogueService;

/** The catalogues that restock asks, each referred to when it is first asked for. */
final class Shelves {
    private final String application;
    private final String protocol;
    private final Map<String, Shelf> shelves = new ConcurrentHashMap<>();

    Shelves(String application, String protocol) {
        this.application = application;
        this.protocol = protocol;
    }

    /** The catalogue of an application over a protocol; null for the ones that are set. */
    Shelf of(String application, String protocol) {
        String app = application == null ? this.application : application;
        String over = protocol == null ? this.protocol : protocol;
        return shelves.computeIfAbsent(over + "://" + app, key -> {
            ReferenceConfig<CatalogueService> outlet = Restock.reference(CatalogueService.class, app, over);
            outlet.setGroup("outlet");
            outlet.setVersion("2.0.0");
            return new Shelf(Restock.reference(CatalogueService.class, app, over).get(), outlet.get());
        });
    }
}
