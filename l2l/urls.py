from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("", include("l2l.probes")), path("", include("l2l.door.urls")), path("", admin.site.urls)]
